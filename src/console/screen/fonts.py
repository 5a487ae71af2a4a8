#!/usr/bin/env python3
"""Makes fonts.bin: which character a cell of a console screen is, by the CRC-32 of its bitmap.

    fonts.py [--root DIR] OUTPUT

Reads the fonts where Debian's packages put them (below DIR): seabios (the VGA fonts), a kernel (its built-in ones),
grub-common (Unifont), console-setup-linux (Fixed, Terminus, VGA), ovmf (EDK II's). The bitmaps themselves are not kept:
their licences are not ours.

The file: for each size of cell a width and a height (bytes), a number n of glyphs and n CRCs in ascending order, then n
characters (UTF-16 units) in the order of the CRCs. Numbers are little-endian; the glyphs' number and the CRCs have 32 bits.
A CRC is that of the rows from top to bottom, each filled up with zeroes to whole bytes, leftmost pixel first.
"""
import argparse, collections, glob, gzip, lzma, os, re, struct, sys, unicodedata, zlib

# Code page 437 as a PC shows it, control characters included.
CONTROLS = "\0☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼"
CP437 = [CONTROLS[c] if c < 32 else "⌂" if c == 127 else bytes([c]).decode("cp437") for c in range(256)]
# What is asked for on consoles; Unifont has much more.
WANTED = [(0x20, 0x530), (0x1E00, 0x2000), (0x2010, 0x2060), (0x20A0, 0x20C0), (0x2100, 0x2400), (0x2500, 0x2700)]

glyphs = collections.defaultdict(dict)  # (width, height) -> crc -> character


def rank(char):
    """The smaller, the more likely it is the one that is meant where two look the same."""
    return (ord(char) >= 0x80, char not in CP437, ord(char))


def add(width, height, rows, char):
    """Takes a glyph; rows are integers, the leftmost pixel in the highest of `width` bits."""
    if not any(rows) or ord(char) <= 32 or ord(char) in (0xA0, 0xAD) or unicodedata.combining(char):
        return
    size = (width + 7) // 8
    crc = zlib.crc32(b"".join((row << (size * 8 - width)).to_bytes(size, "big") for row in rows))
    known = glyphs[width, height].get(crc)
    if known is None or rank(char) < rank(known):
        glyphs[width, height][crc] = char


def raw(data, at, height):
    """Takes 256 glyphs of 8 pixels' width in the order of code page 437."""
    for code in range(256):
        add(8, height, data[at + code * height : at + (code + 1) * height], CP437[code])


# The letter A, by which the VGA fonts are found in a ROM or a kernel.
LETTER_A = {
    8: bytes.fromhex("3078ccccfccccc00"),
    14: bytes.fromhex("000010386cc6c6fec6c6c6000000"),
    16: bytes.fromhex("000010386cc6c6fec6c6c6c600000000"),
}


def vga(data, name):
    for height, letter in LETTER_A.items():
        found = [m.start() - 65 * height for m in re.finditer(re.escape(letter), data)]
        # The B behind it tells a font from a table of replacements.
        found = [at for at in found if at >= 0 and data[at + 66 * height + 2] in (0xFC, 0x66, 0xCC)]
        print(f"{name}: 8x{height}: {len(found)}", file=sys.stderr)
        for at in found:
            raw(data, at, height)


def kernel(path):
    data = open(path, "rb").read()
    at = data.find(b"\xfd7zXZ\0")
    vga(lzma.LZMADecompressor().decompress(data[at:]), path)


def psf(path):
    data = gzip.open(path).read()
    if data[:2] == b"\x36\x04":
        count, height, width, at = (512 if data[2] & 1 else 256), data[3], 8, 4
    else:
        at, _, count, _, height, width = struct.unpack_from("<6I", data, 8)
    size = (width + 7) // 8
    table = data[at + count * height * size :]
    if data[:2] == b"\x36\x04":
        units = "".join(map(chr, struct.unpack(f"<{len(table) // 2}H", table[: len(table) // 2 * 2])))
        names = [entry.split("\ufffe")[0] for entry in units.split("\uffff")]
    else:
        names = [entry.split(b"\xfe")[0].decode() for entry in table.split(b"\xff")]
    for index, chars in zip(range(count), names):
        start = at + index * height * size
        rows = [data[start + y * size : start + (y + 1) * size] for y in range(height)]
        rows = [int.from_bytes(row, "big") >> (size * 8 - width) for row in rows]
        for char in chars:
            if ord(char) < 0x10000:
                add(width, height, rows, char)


def pf2(path):
    """Takes a font of GRUB's (its manual, "Theme file format", and grub-core/font/font.c tell the layout)."""
    data = open(path, "rb").read()
    at, sections = 0, {}
    while at < len(data):
        name, length = struct.unpack_from(">4sI", data, at)
        sections[name] = data[at + 8 : at + 8 + length] if length != 0xFFFFFFFF else b""
        at += 8 + length
        if name == b"DATA":
            break
    (ascent,), (descent,) = struct.unpack(">H", sections[b"ASCE"]), struct.unpack(">H", sections[b"DESC"])
    height = ascent + descent
    for code, _, offset in struct.iter_unpack(">IBI", sections[b"CHIX"]):
        w, h, x, y, advance = struct.unpack_from(">HHhhh", data, offset)
        if advance != 8 or not any(low <= code < high for low, high in WANTED):
            continue
        bits = int.from_bytes(data[offset + 10 : offset + 10 + (w * h + 7) // 8], "big") >> (-w * h % 8)
        rows, top = [0] * height, ascent - h - y
        for row in range(h):
            line = (bits >> (w * (h - 1 - row))) & ((1 << w) - 1)
            if 0 <= top + row < height and x >= 0 and x + w <= 8:
                rows[top + row] = line << (8 - x - w)
        add(8, height, rows, chr(code))


def edk2(path):
    """Takes the narrow glyphs (UEFI specification, EFI_NARROW_GLYPH) out of a firmware volume's compressed sections."""
    data = open(path, "rb").read()
    for mark in re.finditer(rb"\x5d\x00\x00[\x00-\xff]{2}", data):
        try:
            volume = lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(data[mark.start() :])
        except lzma.LZMAError:
            continue
        for table in re.finditer(rb"\x20\x00\x00\x00{19}\x21\x00\x00", volume):
            at, count = table.start(), 0
            while (code := struct.unpack_from("<H", volume, at)[0]) != 0:
                add(8, 19, volume[at + 3 : at + 22], chr(code))
                at, count = at + 22, count + 1
            print(f"{path}: 8x19: {count} glyphs", file=sys.stderr)


parser = argparse.ArgumentParser()
parser.add_argument("--root", default="/")
parser.add_argument("output")
options = parser.parse_args()
at = lambda path: os.path.join(options.root, path)

vga(open("/usr/share/seabios/vgabios-stdvga.bin", "rb").read(), "vgabios")
kernel(sorted(glob.glob("/boot/vmlinuz-*"))[-1])
edk2("/usr/share/OVMF/OVMF_CODE.fd")
pf2("/usr/share/grub/unicode.pf2")
for face in ("Fixed", "Terminus", "TerminusBold", "TerminusBoldVGA", "VGA"):
    for sets in ("Lat15", "Uni2"):
        for path in sorted(glob.glob(at(f"usr/share/consolefonts/{sets}-{face}[0-9]*.psf.gz"))):
            psf(path)

with open(options.output, "wb") as out:
    for (width, height), table in sorted(glyphs.items()):
        crcs = sorted(table)
        out.write(struct.pack("<BBI", width, height, len(crcs)))
        out.write(b"".join(struct.pack("<I", crc) for crc in crcs))
        out.write("".join(table[crc] for crc in crcs).encode("utf-16-le"))
        print(f"{width}x{height}: {len(crcs)} glyphs", file=sys.stderr)
