//! The processors of a machine: how many, and in what order.

use serde::Deserialize;

use super::options::wrong;
use crate::error::Result;

/// How many processors a machine has. Names are Packer's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Topology {
    /// Processors. Default: `sockets` × `cores` × `threads` where one of them is given, else 2.
    pub cpus: Option<u32>,
    /// Sockets.
    pub sockets: Option<u32>,
    /// Cores in a socket.
    pub cores: Option<u32>,
    /// Threads in a core.
    pub threads: Option<u32>,
}

impl Topology {
    fn parts(&self) -> [(&'static str, Option<u32>); 3] {
        [("sockets", self.sockets), ("cores", self.cores), ("threads", self.threads)]
    }

    fn is_given(&self) -> bool {
        self.parts().iter().any(|(_, part)| part.is_some())
    }

    /// Returns how many processors there is room for: as many as are asked for, unless all three parts say otherwise.
    fn room(&self) -> u32 {
        let product = self.parts().iter().map(|(_, part)| part.unwrap_or(1)).fold(1, u32::saturating_mul);
        match (self.cpus, self.parts().iter().all(|(_, part)| part.is_some())) {
            (Some(cpus), false) => cpus.max(product),
            _ => product,
        }
    }

    /// Returns the number of processors.
    pub fn cpus(&self) -> u32 {
        match (self.cpus, self.is_given()) {
            (Some(cpus), false) => cpus,
            (None, false) => 2,
            (cpus, true) => cpus.unwrap_or(u32::MAX).min(self.room()),
        }
    }

    /// Checks the numbers; returns warnings.
    pub fn validate(&self) -> Result<Vec<String>> {
        for (name, value) in self.parts().into_iter().chain([("cpus", self.cpus)]) {
            if value == Some(0) {
                return Err(wrong(name, "expected at least 1, found 0"));
            }
        }
        let (given, used) = (self.cpus.unwrap_or(self.cpus()), self.cpus());
        if given > used {
            let parts = self.parts().map(|(name, part)| format!("{} {name}", part.unwrap_or(1))).join(" × ");
            return Ok(vec![format!("{given} cpus do not fit {parts}: the machine gets {used}")]);
        }
        let product = self.parts().iter().map(|(_, part)| part.unwrap_or(1)).fold(1, u32::saturating_mul);
        if self.is_given() && !self.room().is_multiple_of(product) {
            return Err(wrong("cpus", format!("{given} cannot be divided among {product} places"))
                .hint("cpus is a multiple of sockets × cores × threads"));
        }
        Ok(Vec::new())
    }

    /// Returns QEMU's `-smp`.
    pub fn argument(&self) -> String {
        let (cpus, room) = (self.cpus(), self.room());
        let mut argument = cpus.to_string();
        for (name, part) in self.parts() {
            if let Some(part) = part {
                argument.push_str(&format!(",{name}={part}"));
            }
        }
        if self.is_given() && room > cpus {
            argument.push_str(&format!(",maxcpus={room}"));
        }
        argument
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_as_in_packer() {
        let of = |cpus, sockets, cores, threads| Topology { cpus, sockets, cores, threads };
        for (topology, argument) in [
            (of(None, None, None, None), "2"),
            (of(Some(3), None, None, None), "3"),
            (of(None, Some(2), Some(2), None), "4,sockets=2,cores=2"),
            (of(Some(4), None, Some(2), None), "4,cores=2"),
            (of(Some(3), Some(1), Some(2), Some(2)), "3,sockets=1,cores=2,threads=2,maxcpus=4"),
            (of(Some(8), Some(1), Some(2), Some(2)), "4,sockets=1,cores=2,threads=2"),
        ] {
            assert_eq!(topology.argument(), argument);
            assert!(topology.validate().is_ok());
        }
        assert_eq!(of(Some(8), Some(1), Some(2), Some(2)).validate().unwrap().len(), 1);
        assert!(of(Some(3), None, Some(2), None).validate().is_err());
        assert!(of(None, None, Some(0), None).validate().is_err());
    }
}
