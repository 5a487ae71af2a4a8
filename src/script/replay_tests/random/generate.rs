//! Random scripts and random edits of them.

use super::program::{Block, Place, Program, Shape, Statement, What};

/// A generator of numbers that a seed determines (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn small(&mut self, limit: u32) -> u32 {
        u32::try_from(self.next() % u64::from(limit)).unwrap()
    }

    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Makes statements, each with a number of its own.
pub struct Author {
    pub random: Random,
    next: u32,
}

impl Author {
    pub fn new(seed: u64) -> Author {
        Author { random: Random(seed), next: 0 }
    }

    pub fn program(&mut self) -> Program {
        let shape = match self.random.below(6) {
            0 => Shape::Builds,
            1 => Shape::Fork,
            _ => Shape::Single,
        };
        let mut host = std::collections::BTreeMap::new();
        for name in ["h0", "h1", "tree/a", "tree/sub/b", "base/f0", "base/etc/x"] {
            host.insert(name.to_owned(), (self.random.small(100), 0o644));
        }
        let count = 3 + self.random.below(5);
        let branches = if shape == Shape::Single { 0 } else { 2 };
        Program {
            shape,
            common: self.block(count, Place::Top, 0),
            branches: (0..branches).map(|_| self.some(Place::Branch, 1)).collect(),
            helpers: (0..2).map(|_| self.some(Place::Helper, 1)).collect(),
            host,
            variable: 0,
            cpus: 1,
            tree: self.random.chance(2),
        }
    }

    fn block(&mut self, count: usize, place: Place, depth: usize) -> Block {
        (0..count).map(|_| self.statement(place, depth)).collect()
    }

    fn some(&mut self, place: Place, depth: usize) -> Block {
        let count = 1 + self.random.below(3);
        self.block(count, place, depth)
    }

    fn file(&mut self, place: Place) -> String {
        let name = self.random.pick(&["f0", "f1", "f2", "f3"]).to_owned();
        match place {
            Place::Parallel(number) => format!("p{number}{name}"),
            Place::Helper if self.random.chance(2) => "%F".to_owned(),
            _ => name,
        }
    }

    /// Returns a shell line that does the same whenever it begins at the same state.
    fn command(&mut self, place: Place) -> String {
        let (f, g, n) = (self.file(place), self.file(place), self.random.small(100));
        match self.random.below(11) {
            0 | 1 => format!("echo {n} %I >>{f}; cat {f}"),
            2 => format!("n=$(cat {f}.n 2>/dev/null || echo 0); echo $((n + {n})) >{f}.n; cat {f}.n"),
            3 => format!("cat {f} {g} 2>/dev/null | cksum"),
            4 => format!("{{ cat {f} 2>/dev/null; echo {n}; }} | sort -r >{g}.new; mv {g}.new {g}"),
            5 => format!("touch {f}; chmod 6{}0 {f}; ls -l {f} | cut -c1-10", self.random.small(8)),
            6 => format!("mkdir -p d{n}/{f}.d; echo {n} >d{n}/{f}.d/x; ls d{n}"),
            7 => format!("rm -rf d{n} {f}; ln -sfn {g} {f}.link; readlink {f}.link"),
            8 => format!("echo {n} >>\"$MEMORY/{f}\"; wc -l <\"$MEMORY/{f}\""),
            9 => format!("cat \"$MEMORY/{f}\" 2>/dev/null >>{f} || true; wc -c <{f}"),
            _ => format!("echo \"{n} $X\" | tee -a {f}; echo heard >&2"),
        }
    }

    fn statement(&mut self, place: Place, depth: usize) -> Statement {
        self.next += 1;
        let id = self.next;
        Statement { id, what: self.what(place, depth) }
    }

    fn what(&mut self, place: Place, depth: usize) -> What {
        let nests = depth < 2;
        // What reboots, or stands still for all, is not for branches that run side by side.
        let alone = !matches!(place, Place::Parallel(_));
        loop {
            return match self.random.below(26) {
                0..=3 => What::Run { command: self.command(place), env: None },
                4 => What::Run { command: self.command(place), env: Some(self.random.small(5)) },
                5 | 6 => What::Shell((0..2).map(|_| self.command(place)).collect()),
                7 => What::Write { file: self.file(place), text: self.random.small(100) },
                8 => What::Upload { host: self.random.pick(&["h0", "h1"]).to_owned(), to: self.file(place) },
                9 => What::UploadTree { to: format!("up{}", self.file(place)) },
                10 => What::Read(self.file(place)),
                11 => What::Download(self.file(place)),
                12 | 13 if nests => What::If {
                    command: self.command(place),
                    pattern: self.random.small(10),
                    then: self.some(inside(place), depth + 1),
                    otherwise: self.some(inside(place), depth + 1),
                },
                14 if nests => What::For { times: 1 + self.random.small(3), body: self.some(inside(place), depth + 1) },
                15 => What::Caught(self.command(place)),
                16 => What::Unchecked(self.command(place)),
                17 => What::Retry { file: format!("{}.tries", self.file(place)), tries: 1 + self.random.small(5) },
                18 if nests => What::Step(self.some(inside(place), depth + 1)),
                19 if alone => What::Checkpoint,
                20 if nests && alone && place != Place::Helper => {
                    What::Parallel((0..2).map(|number| self.some(Place::Parallel(number), 2)).collect())
                }
                21 if alone && place != Place::Helper => {
                    What::Call { helper: self.random.below(2), file: self.file(place) }
                }
                22 if self.random.chance(2) => What::Variable(self.file(place)),
                22 if self.random.chance(4) => What::Uncached(self.command(place)),
                23 if alone && self.random.chance(3) => What::Reboot,
                24 if alone => What::Checkpoint,
                25 if alone => What::UploadMade { text: self.random.small(100), to: self.file(place) },
                _ => continue,
            };
        }
    }

    /// Changes one thing, and says what.
    pub fn edit(&mut self, program: &mut Program) -> String {
        if program.fails() && self.random.chance(2) {
            program.visit(&mut |block, _| block.retain(|statement| !matches!(statement.what, What::Fail)));
            return "the failing command is mended".into();
        }
        match self.random.below(12) {
            0 => {
                let number = self.random.below(program.host.len());
                let (name, (content, mode)) = program.host.iter_mut().nth(number).unwrap();
                if self.random.chance(3) {
                    *mode = if *mode == 0o644 { 0o755 } else { 0o644 };
                } else {
                    *content += 1;
                }
                format!("host/{name} is another")
            }
            1 => {
                program.variable += 1;
                format!("-v v={}", program.variable)
            }
            2 if self.random.chance(3) => {
                program.cpus = 3 - program.cpus;
                format!("cpus = {}", program.cpus)
            }
            3 if !program.fails() => {
                let at = self.random.below(program.common.len() + 1);
                self.next += 1;
                program.common.insert(at, Statement { id: self.next, what: What::Fail });
                format!("a failing command at {at}")
            }
            _ => self.edit_block(program),
        }
    }

    fn edit_block(&mut self, program: &mut Program) -> String {
        let mut count = 0;
        program.visit(&mut |_, _| count += 1);
        // The last blocks are the helpers', where a change is one everywhere; the first is the longest.
        let chosen = if self.random.chance(2) { 0 } else { self.random.below(count) };
        let (mut number, mut said) = (0, String::new());
        program.visit(&mut |block, place| {
            if number == chosen {
                said = self.edit_here(block, place);
            }
            number += 1;
        });
        format!("in block {chosen}: {said}")
    }

    fn edit_here(&mut self, block: &mut Block, place: Place) -> String {
        let at = self.random.below(block.len().max(1));
        let depth = if place == Place::Top { 0 } else { 2 };
        match self.random.below(5) {
            0 if block.len() > 1 => {
                block.remove(at);
                format!("{at} removed")
            }
            1 if block.len() > 1 => {
                let other = self.random.below(block.len());
                block.swap(at, other);
                format!("{at} and {other} swapped")
            }
            2 if !block.is_empty() => {
                block[at] = self.statement(place, depth);
                format!("{at} changed")
            }
            3 => {
                block.push(self.statement(place, depth));
                "one added".into()
            }
            _ => {
                block.insert(at, self.statement(place, depth));
                format!("{at} inserted")
            }
        }
    }
}

fn inside(place: Place) -> Place {
    if matches!(place, Place::Parallel(_) | Place::Helper) { place } else { Place::Inside }
}
