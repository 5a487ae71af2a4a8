//! Formats whose files may be put one after the other, made on all cores: blocks of input, each compressed by itself.
//!
//! What comes out depends only on the input, the block's size and the level, not on the number of cores.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

/// Compresses a block at a level, behind what the output holds.
pub type Codec = fn(&[u8], u32, &mut Vec<u8>) -> io::Result<()>;

struct Job {
    input: Vec<u8>,
    reply: mpsc::Sender<io::Result<Vec<u8>>>,
}

/// Cuts what is written to it into blocks and writes each to `inner`, compressed, in their order.
pub struct Blocks<W: Write> {
    inner: W,
    size: usize,
    jobs: Option<mpsc::Sender<Job>>,
    workers: Vec<JoinHandle<()>>,
    /// Answers in the order of the blocks.
    waiting: VecDeque<mpsc::Receiver<io::Result<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    input: Vec<u8>,
    empty: bool,
}

impl<W: Write> Blocks<W> {
    /// Starts with blocks of `size` bytes of input.
    pub fn new(inner: W, size: usize, level: u32, codec: Codec) -> io::Result<Blocks<W>> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let mut blocks = Blocks {
            inner,
            size,
            jobs: Some(jobs),
            workers: Vec::new(),
            waiting: VecDeque::new(),
            stop: Arc::default(),
            input: Vec::with_capacity(size),
            empty: true,
        };
        for _ in 0..cores {
            let (queue, stop) = (queue.clone(), blocks.stop.clone());
            let work = move || work(&queue, &stop, level, codec);
            blocks.workers.push(std::thread::Builder::new().name("compress".into()).spawn(work)?);
        }
        Ok(blocks)
    }

    /// Writes all that is left, and `end` behind it. Of no input it makes one empty block.
    pub fn finish(mut self, end: &[u8]) -> io::Result<()> {
        if self.empty || !self.input.is_empty() {
            self.dispatch(Vec::new())?;
        }
        while !self.waiting.is_empty() {
            self.collect()?;
        }
        self.inner.write_all(end)
    }

    fn dispatch(&mut self, next: Vec<u8>) -> io::Result<()> {
        while self.waiting.len() > 2 * self.workers.len() {
            self.collect()?;
        }
        self.empty = false;
        let input = std::mem::replace(&mut self.input, next);
        let (reply, answer) = mpsc::channel();
        let sent = self.jobs.as_ref().map(|jobs| jobs.send(Job { input, reply }));
        if !matches!(sent, Some(Ok(()))) {
            return Err(io::Error::other("the compressing threads are gone"));
        }
        self.waiting.push_back(answer);
        Ok(())
    }

    /// Writes the oldest block out.
    fn collect(&mut self) -> io::Result<()> {
        let Some(answer) = self.waiting.pop_front() else { return Ok(()) };
        let output = answer.recv().map_err(|_| io::Error::other("a compressing thread ended early"))??;
        self.inner.write_all(&output)
    }
}

impl<W: Write> Write for Blocks<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.size.saturating_sub(self.input.len());
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.input.extend_from_slice(taken);
        if self.input.len() >= self.size {
            self.dispatch(Vec::with_capacity(self.size))?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Drop for Blocks<W> {
    fn drop(&mut self) {
        // Nobody wants the blocks that no thread has begun.
        self.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
        self.waiting.clear();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

fn work(queue: &Mutex<mpsc::Receiver<Job>>, stop: &AtomicBool, level: u32, codec: Codec) {
    loop {
        let job = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(Job { input, reply }) = job else { return };
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let mut output = Vec::new();
        let done = codec(&input, level, &mut output);
        let _ = reply.send(done.map(|()| output));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(input: &[u8], level: u32, output: &mut Vec<u8>) -> io::Result<()> {
        // Later blocks are done first.
        for _ in 0..u32::from(10 - input.first().map_or(0, |b| b % 10)) * 100 {
            std::thread::yield_now();
        }
        output.extend_from_slice(&[level as u8, input.len() as u8]);
        output.extend_from_slice(input);
        Ok(())
    }

    #[test]
    fn blocks_come_out_in_order() {
        let mut out = Vec::new();
        let mut blocks = Blocks::new(&mut out, 3, 7, framed).unwrap();
        let input: Vec<u8> = (0..100).collect();
        for piece in input.chunks(7) {
            blocks.write_all(piece).unwrap();
        }
        blocks.finish(&[9]).unwrap();
        let mut expected: Vec<u8> =
            input.chunks(3).flat_map(|block| [&[7, block.len() as u8], block].concat()).collect();
        expected.push(9);
        assert_eq!(out, expected);
    }

    #[test]
    fn nothing_is_one_empty_block() {
        let mut out = Vec::new();
        Blocks::new(&mut out, 3, 7, framed).unwrap().finish(&[]).unwrap();
        assert_eq!(out, [7, 0]);
    }
}
