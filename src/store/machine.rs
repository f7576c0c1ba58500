//! What the machine says of its memory and of the discs that the gateway writes to.
//!
//! Law: told as the system tells it, and not at all where the system says nothing; nothing is decided by it.

use std::path::Path;

use rustix::fs::statvfs;

/// Where Linux says how much memory there is.
const MEMORY: &str = "/proc/meminfo";

/// How much there is of something, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub total: u64,
    /// What may still be taken by whoever is no administrator of the machine.
    pub free: u64,
}

impl Room {
    /// Nothing is told of what is empty, or has more free than there is.
    #[must_use]
    pub const fn of(total: u64, free: u64) -> Option<Self> {
        if total == 0 || free > total { None } else { Some(Self { total, free }) }
    }

    /// How much of a thousand is taken, rounded.
    #[must_use]
    pub fn taken_per_mille(self) -> u16 {
        let total = u128::from(self.total);
        let taken = u128::from(self.total - self.free);
        u16::try_from((taken * 1000 + total / 2) / total).unwrap_or(1000)
    }
}

/// The memory of the machine. Where a container has less, this is the machine's all the same.
#[must_use]
pub fn memory() -> Option<Room> {
    let text = std::fs::read_to_string(MEMORY);
    memory_in(&text.inspect_err(|error| tracing::debug!(%error, "{MEMORY} says nothing")).ok()?)
}

fn memory_in(text: &str) -> Option<Room> {
    let kibibytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    // What is cached is given back when it is asked for.
    Room::of(kibibytes("MemTotal")?, kibibytes("MemAvailable")?)
}

/// The disc that this stands on.
#[must_use]
pub fn disc(path: &Path) -> Option<Room> {
    let told = statvfs(path).inspect_err(|error| tracing::debug!(%error, "the disc says nothing")).ok()?;
    // Some blocks are kept for the administrator of the machine: neither free to others nor taken.
    let kept = told.f_bfree.checked_sub(told.f_bavail)?;
    let total = told.f_blocks.checked_sub(kept)?.checked_mul(told.f_frsize)?;
    Room::of(total, told.f_bavail.checked_mul(told.f_frsize)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_linux_writes_it() {
        let text = "MemTotal:        8000000 kB\nMemFree:          100000 kB\nMemAvailable:    2000000 kB\n";
        assert_eq!(memory_in(text), Some(Room { total: 8_192_000_000, free: 2_048_000_000 }));
        assert_eq!(memory_in(text).unwrap().taken_per_mille(), 750);
        for broken in [
            "",
            "MemTotal: 8000000 kB\n",
            "MemTotal: 8000000 kB\nMemAvailable: much kB\n",
            "MemTotal: 8000000\nMemAvailable: 2000000\n",
            "MemTotal: 0 kB\nMemAvailable: 0 kB\n",
            "MemTotal: 1 kB\nMemAvailable: 2 kB\n",
            "MemTotal: 18446744073709551615 kB\nMemAvailable: 2 kB\n",
        ] {
            assert_eq!(memory_in(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn a_disc_is_told_of_where_there_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let room = disc(folder.path()).expect("a disc");
        assert!(room.total > 0 && room.free <= room.total && room.taken_per_mille() <= 1000);
        assert_eq!(disc(&folder.path().join("nothing")), None);
    }

    #[test]
    fn what_is_taken_is_rounded_and_never_more_than_all() {
        let taken = |total, free| Room::of(total, free).map(Room::taken_per_mille);
        assert_eq!(taken(3, 1), Some(667));
        assert_eq!(taken(u64::MAX, 0), Some(1000));
        assert_eq!(taken(u64::MAX, u64::MAX), Some(0));
        assert_eq!((taken(0, 0), taken(1, 2)), (None, None));
    }
}
