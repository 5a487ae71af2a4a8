//! BGZF: gzip in small members, each with its own length before it, so that readers find their way (SAM/BAM format
//! specification, section 4.1).

use std::io::{self, Write};

use flate2::{Compress, Compression, FlushCompress, Status};

use super::blocks::Blocks;

/// Input of one member. Even stored it stays below the 64 KiB that a member may have.
const MEMBER: usize = 0xff00;
/// Members that a thread makes at once.
const AT_ONCE: usize = 16;
/// Bytes of a member besides its deflate stream: the header with the extra field, CRC-32 and length.
const AROUND: usize = 18 + 8;
/// The empty member at the end, by which a reader knows that the file is whole.
const END: [u8; 28] =
    [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 6, 0, b'B', b'C', 2, 0, 27, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Compresses what is written to it into a BGZF file, on all cores.
pub struct Bgzf<W: Write>(Blocks<W>);

impl<W: Write> Bgzf<W> {
    /// Starts a file at `level`, 0 (store) to 9.
    pub fn new(inner: W, level: u32) -> io::Result<Bgzf<W>> {
        Blocks::new(inner, AT_ONCE * MEMBER, level, members).map(Bgzf)
    }

    /// Writes all that is left and the end of the file.
    pub fn finish(self) -> io::Result<()> {
        self.0.finish(&END)
    }
}

impl<W: Write> Write for Bgzf<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn members(input: &[u8], level: u32, output: &mut Vec<u8>) -> io::Result<()> {
    let mut engine = Compress::new(Compression::new(level), false);
    let mut packed = Vec::with_capacity(MEMBER + MEMBER / 8);
    for piece in input.chunks(MEMBER) {
        packed.clear();
        engine.reset();
        let status = engine.compress_vec(piece, &mut packed, FlushCompress::Finish)?;
        if status != Status::StreamEnd || packed.len() > piece.len() + 5 {
            store(piece, &mut packed)?;
        }
        let size = u16::try_from(AROUND + packed.len() - 1).map_err(io::Error::other)?;
        let length = u32::try_from(piece.len()).map_err(io::Error::other)?;
        output.extend_from_slice(END.get(..16).unwrap_or_default());
        output.extend_from_slice(&size.to_le_bytes());
        output.extend_from_slice(&packed);
        output.extend_from_slice(&crc32fast::hash(piece).to_le_bytes());
        output.extend_from_slice(&length.to_le_bytes());
    }
    Ok(())
}

/// Replaces `packed` by one stored block of deflate (RFC 1951, section 3.2.4).
fn store(piece: &[u8], packed: &mut Vec<u8>) -> io::Result<()> {
    let length = u16::try_from(piece.len()).map_err(io::Error::other)?;
    packed.clear();
    packed.push(1);
    packed.extend_from_slice(&length.to_le_bytes());
    packed.extend_from_slice(&(!length).to_le_bytes());
    packed.extend_from_slice(piece);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn members_know_their_length_and_end_with_the_empty_one() {
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for (level, len) in [(6, 0), (6, 1), (0, 3 * MEMBER + 5), (1, 40 * MEMBER), (9, 16 * MEMBER + 1)] {
            let bytes: Vec<u8> = (0..len).map(|n| if n % 200_000 < 100_000 { noise() } else { 0 }).collect();
            let mut out = Vec::new();
            let mut bgzf = Bgzf::new(&mut out, level).unwrap();
            bgzf.write_all(&bytes).unwrap();
            bgzf.finish().unwrap();
            let mut back = Vec::new();
            let mut rest = out.as_slice();
            while rest.len() > END.len() {
                assert_eq!(rest[..16], END[..16]);
                let size = usize::from(u16::from_le_bytes([rest[16], rest[17]])) + 1;
                let mut member = flate2::read::GzDecoder::new(&rest[..size]);
                assert!(member.read_to_end(&mut back).is_ok());
                rest = &rest[size..];
            }
            assert_eq!(rest, END);
            assert!(back == bytes, "level {level}, {len} bytes");
        }
    }
}
