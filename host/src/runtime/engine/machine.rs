//! How large the pools are, from what the machine has: RAM, address space, and the limits that this process was started under.

use std::fmt;
use std::str::FromStr;

use rustix::process::{Resource, getrlimit};

use super::{Class, HOST_STACK_BYTES, Image, TABLES_PER_SLOT};
use crate::limit::{MEMORY_BYTES, STACK_BYTES, TABLE_ELEMENTS};

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    pub ram_bytes: u64,
    /// Addresses that may be reserved: what the processor has, or `RLIMIT_AS`.
    pub address_bytes: u64,
    /// Memory that may be mapped for writing: `RLIMIT_DATA`, or no limit.
    pub data_bytes: u64,
}

/// What was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub machine: Machine,
    pub layout: Layout,
    /// Instances of usual functions at the same time.
    usual_slots: u32,
}

/// How addresses are laid out for one memory. Compiled code depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub memory_reservation_bytes: u64,
    pub memory_guard_bytes: u64,
}

impl Layout {
    /// Every address that a guest can form is reserved: its loads and stores need no check.
    const ROOMY: Self = Self { memory_reservation_bytes: 4 << 30, memory_guard_bytes: 32 << 20 };
    /// As much as the largest memory, with checks in the code, which cost some percent.
    const TIGHT: Self = Self { memory_reservation_bytes: *MEMORY_BYTES.end(), memory_guard_bytes: 64 << 10 };

    fn bytes(&self) -> u64 {
        self.memory_reservation_bytes + self.memory_guard_bytes
    }
}

/// `RESERVATION+GUARD`, in bytes: how the compiler in its own process is told.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.memory_reservation_bytes, self.memory_guard_bytes)
    }
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Self::ROOMY, Self::TIGHT];
        known.into_iter().find(|layout| layout.to_string() == text).ok_or_else(|| format!("`{text}` is no layout of memories"))
    }
}

impl Machine {
    /// This machine, and the limits of this process.
    pub fn here() -> Self {
        let ram = rustix::system::sysinfo();
        let limit = |resource| getrlimit(resource).current.unwrap_or(u64::MAX);
        Self {
            ram_bytes: (ram.totalram as u64).saturating_mul(u64::from(ram.mem_unit.max(1))),
            address_bytes: limit(Resource::As).min(ADDRESS_BYTES),
            data_bytes: limit(Resource::Data),
        }
    }

    /// The next thing to try where the kernel has fewer addresses than we took it to have.
    pub fn with_fewer_addresses(self) -> Option<Self> {
        let address_bytes = self.address_bytes >> 2;
        (address_bytes >= ADDRESS_BYTES_MIN).then_some(Self { address_bytes, ..self })
    }
}

impl Sizes {
    pub fn of(machine: Machine) -> Self {
        // One for each 64 MiB of RAM, so that a pool of full instances still fits.
        let by_ram = slots(machine.ram_bytes, SLOT_RAM_BYTES).clamp(SLOTS_MIN, SLOTS_MAX);
        // Stacks and tables are mapped for writing from the start; memories when they are used.
        let data_bytes_per_slot = (Class::USUAL.stack_bytes + HOST_STACK_BYTES + TABLES_PER_SLOT as usize * TABLE_BYTES) as u64;
        let by_data = slots(machine.data_bytes / 4, data_bytes_per_slot);
        let by_address = |layout: Layout| slots(machine.address_bytes / 2, layout.bytes() + data_bytes_per_slot);
        let wanted = by_ram.min(by_data).max(SLOTS_MIN);
        let layout = if by_address(Layout::ROOMY) >= wanted { Layout::ROOMY } else { Layout::TIGHT };
        Self { machine, layout, usual_slots: wanted.min(by_address(layout)).max(SLOTS_MIN) }
    }

    /// Instances of one class at the same time. Classes other than the usual one are for few guests.
    pub fn slots(&self, class: Class) -> u32 {
        match class {
            Class::USUAL => self.usual_slots,
            Class { image: Image::Small, .. } => (self.usual_slots / 4).max(SLOTS_MIN / 2),
            Class { image: Image::Large, .. } => (self.usual_slots / 8).max(SLOTS_MIN / 2),
        }
    }

    /// What a pool keeps of a memory that is no longer used, zeroed, so that the next instance need not fault it in again. The
    /// memories of one class together keep an eighth of the RAM at most, those of the others a part of it.
    pub fn keep_resident_bytes(&self, class: Class) -> usize {
        let (share, bytes_max) = match class {
            Class::USUAL => (8, KEEP_RESIDENT_BYTES_MAX),
            Class { image: Image::Small, .. } => (32, KEEP_RESIDENT_BYTES_MAX),
            Class { image: Image::Large, .. } => (16, LARGE_KEEP_RESIDENT_BYTES_MAX),
        };
        let all = self.machine.ram_bytes.min(self.machine.data_bytes) / share;
        usize::try_from(all / u64::from(self.slots(class))).unwrap_or(usize::MAX).min(bytes_max)
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { ram_bytes, address_bytes, data_bytes } = self.machine;
        write!(f, "{} instances of functions at once", self.usual_slots)?;
        write!(f, ", {} of addresses for each memory", Size(self.layout.memory_reservation_bytes))?;
        write!(f, ", {} of it kept when it is free", Size(self.keep_resident_bytes(Class::USUAL) as u64))?;
        write!(f, " (the machine has {} of RAM, {} of addresses", Size(ram_bytes), Size(address_bytes))?;
        if data_bytes < u64::MAX {
            write!(f, ", and a limit of {} of data", Size(data_bytes))?;
        }
        f.write_str(")")
    }
}

/// A number of bytes for people.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            tib if tib >= 1 << 40 => write!(f, "{} TiB", tib >> 40),
            gib if gib >= 1 << 30 => write!(f, "{} GiB", gib >> 30),
            mib if mib >= 1 << 20 => write!(f, "{} MiB", mib >> 20),
            kib => write!(f, "{} KiB", kib >> 10),
        }
    }
}

fn slots(bytes: u64, bytes_per_slot: u64) -> u32 {
    u32::try_from(bytes / bytes_per_slot).unwrap_or(u32::MAX)
}

/// Half of what 64-bit processors have for a process; those that have less say so when the pool is made.
const ADDRESS_BYTES: u64 = 1 << 46;
const ADDRESS_BYTES_MIN: u64 = 4 << 30;
const SLOT_RAM_BYTES: u64 = 64 << 20;
const SLOTS_MIN: u32 = 8;
const SLOTS_MAX: u32 = 512;
const TABLE_BYTES: usize = *TABLE_ELEMENTS.end() as usize * size_of::<usize>();
/// A call of a small Rust guest costs 9 us from 512 KiB on, and 17 us if nothing is kept; one that fills 4 MiB costs 0.34 ms
/// with 4 or 64 MiB, 1.25 ms with 2 and 2.3 ms with none (`docs/performance.md`). Each slot that was ever used would hold more.
const KEEP_RESIDENT_BYTES_MAX: usize = 4 << 20;
/// Guests with large images: the whole of the default limit, since giving memory back and faulting it in is most of their start.
const LARGE_KEEP_RESIDENT_BYTES_MAX: usize = 64 << 20;
const _: () = assert!(STACK_BYTES[2] == Class::USUAL.stack_bytes);

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: [Class; 3] =
        [Class::USUAL, Class { stack_bytes: 2 << 20, ..Class::USUAL }, Class { image: Image::Large, ..Class::USUAL }];

    #[test]
    fn idle_memories_keep_an_eighth_of_the_ram_at_most() {
        for mib in [64, 256, 1_024, 2_048, 16_384, 1 << 20] {
            let sizes = Sizes::of(Machine { ram_bytes: mib << 20, address_bytes: ADDRESS_BYTES, data_bytes: u64::MAX });
            for class in CLASSES {
                let kept = sizes.keep_resident_bytes(class) as u64 * u64::from(sizes.slots(class));
                assert!(kept <= (mib << 20) / 8, "{mib} MiB of RAM, {class:?}: {kept} bytes are kept");
            }
        }
    }

    #[test]
    fn pools_fit_into_the_addresses_and_the_data_that_there_are() {
        for (address_bytes, data_bytes) in [(64 << 30, u64::MAX), (1 << 39, u64::MAX), (ADDRESS_BYTES, 512 << 20), (64 << 30, 512 << 20)] {
            let sizes = Sizes::of(Machine { ram_bytes: 24 << 30, address_bytes, data_bytes });
            let slots = u64::from(sizes.usual_slots);
            assert!(slots >= u64::from(SLOTS_MIN));
            assert!(slots * sizes.layout.bytes() <= address_bytes / 2, "{sizes}");
            assert!(slots * (3 << 20) <= data_bytes / 4, "{sizes}");
        }
    }

    #[test]
    fn a_large_machine_has_memories_without_checks_and_a_tight_one_has_instances() {
        let machine = Machine { ram_bytes: 24 << 30, address_bytes: ADDRESS_BYTES, data_bytes: u64::MAX };
        let (large, tight) = (Sizes::of(machine), Sizes::of(Machine { address_bytes: 64 << 30, ..machine }));
        assert_eq!((large.layout, large.usual_slots), (Layout::ROOMY, 384));
        assert_eq!((tight.layout, tight.usual_slots), (Layout::TIGHT, 126));
        for layout in [large.layout, tight.layout] {
            assert_eq!(layout.to_string().parse(), Ok(layout));
        }
        assert!("1+1".parse::<Layout>().is_err());
    }
}
