//! Which requests write which values: neighbours that are set in one call are written together.

use crate::mapping::{Area, Point, WriteBy};
use crate::pdu::{Request, WRITE_AND_READ_REGISTERS_MAX, WRITE_BITS_MAX, WRITE_REGISTERS_MAX};

/// One step of a set, and the points that it is for, by their number in the mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub points: Vec<usize>,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Done when it is confirmed.
    Request(Request),
    /// Done when the device has these registers.
    ReadBack(Request),
    /// Some bits of a register that is read first, for devices that do not know function 22.
    Field { address: u16, mask: u16, value: u16, write_by: WriteBy },
}

/// A value as it goes to the device: registers, or the bits of a field or a coil.
pub type Encoded = (usize, Vec<u16>);

/// The steps that write these values, in the order in which they were given.
pub fn writes(points: &[Point], values: Vec<Encoded>) -> Vec<Write> {
    let mut runs: Vec<Run> = Vec::new();
    for (at, words) in values {
        let point = &points[at];
        match runs.last_mut() {
            Some(run) if run.takes(point, words.len()) => {
                run.points.push(at);
                run.words.extend(words);
            }
            _ => runs.push(Run { first: point, points: vec![at], words }),
        }
    }
    runs.into_iter().map(Run::write).collect()
}

/// What became of the other steps, for people, where one was not done; nothing if there are none.
pub fn others(points: &[Point], before: &[Write], after: &[Write]) -> String {
    let told = |what: &str, writes: &[Write]| match writes {
        [] => String::new(),
        _ => format!("; {what}: {}", names(points, writes)),
    };
    told("set before it", before) + &told("not set after it", after)
}

/// What these steps set, for people.
pub fn names(points: &[Point], writes: &[Write]) -> String {
    let names: Vec<&str> = writes.iter().flat_map(|write| &write.points).map(|at| points[*at].identifier.as_str()).collect();
    format!("`{}`", names.join("`, `"))
}

/// Neighbours in the order of their addresses.
struct Run<'a> {
    first: &'a Point,
    points: Vec<usize>,
    words: Vec<u16>,
}

impl Run<'_> {
    fn takes(&self, point: &Point, words: usize) -> bool {
        let first = self.first;
        let max = match (first.area, first.write_by) {
            (Area::Coil, _) => WRITE_BITS_MAX,
            (_, WriteBy::ReadBack) => WRITE_AND_READ_REGISTERS_MAX,
            _ => WRITE_REGISTERS_MAX,
        };
        first.area == point.area
            && first.write_by == point.write_by
            && !matches!(first.write_by, WriteBy::Single | WriteBy::Mask)
            && first.layout.bits.is_none()
            && point.layout.bits.is_none()
            && usize::from(point.address) == usize::from(first.address) + self.words.len()
            && self.words.len() + words <= max
    }

    fn write(self) -> Write {
        let Self { first, points, words } = self;
        let start = first.address;
        let single = words.first().copied().filter(|_| words.len() == 1 && first.write_by != WriteBy::Multiple);
        let what = match (first.area, first.layout.bits, first.write_by, single) {
            (Area::Holding, Some(bits), write_by, _) => {
                let value = words.first().map_or(0, |word| word << bits.offset) & bits.mask();
                // On the wire, as the register is.
                let (mask, value) = (first.layout.swapped_bytes(bits.mask()), first.layout.swapped_bytes(value));
                match write_by {
                    WriteBy::Mask => What::Request(Request::MaskRegister { address: start, and: !mask, or: value }),
                    _ => What::Field { address: start, mask, value, write_by },
                }
            }
            (Area::Coil, _, _, Some(value)) => What::Request(Request::WriteCoil { address: start, on: value != 0 }),
            (Area::Coil, ..) => What::Request(Request::WriteCoils { start, values: words.into_iter().map(|word| word != 0).collect() }),
            (_, _, WriteBy::ReadBack, _) => What::ReadBack(Request::WriteAndRead { start, values: words }),
            (_, _, _, Some(value)) => What::Request(Request::WriteRegister { address: start, value }),
            _ => What::Request(Request::WriteRegisters { start, values: words }),
        };
        Write { points, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Bits, Kind, Layout};
    use crate::mapping::Report;
    use crate::model::Model;

    fn point(area: Area, address: u16, write_by: WriteBy) -> Point {
        Point {
            identifier: String::new(),
            is_readable: true,
            is_writable: true,
            model: Model::Bool,
            area,
            address,
            layout: Layout {
                kind: Kind::Uint16,
                items: None,
                bits: None,
                swap_bytes: false,
                swap_registers: false,
                scale: 1.0,
                offset: 0.0,
            },
            report: Report::Periodic,
            interval: None,
            write_by,
        }
    }

    fn field(write_by: WriteBy, swap_bytes: bool) -> Point {
        let point = point(Area::Holding, 3, write_by);
        Point { layout: Layout { bits: Some(Bits { offset: 4, count: 3 }), swap_bytes, ..point.layout }, ..point }
    }

    /// The codes of the requests that write these words.
    fn codes(points: &[Point], values: Vec<Encoded>) -> Vec<u8> {
        let code = |write: Write| match write.what {
            What::Request(request) | What::ReadBack(request) => request.code(),
            What::Field { .. } => 0,
        };
        writes(points, values).into_iter().map(code).collect()
    }

    #[test]
    fn each_function_writes_what_it_is_for() {
        let one = |area, write_by, words: &[u16]| codes(&[point(area, 3, write_by)], vec![(0, words.into())]);
        assert_eq!(one(Area::Coil, WriteBy::Usual, &[1]), [5]);
        assert_eq!(one(Area::Coil, WriteBy::Multiple, &[1]), [15]);
        assert_eq!(one(Area::Holding, WriteBy::Usual, &[1]), [6]);
        assert_eq!(one(Area::Holding, WriteBy::Usual, &[1, 2]), [16]);
        assert_eq!(one(Area::Holding, WriteBy::Multiple, &[1]), [16]);
        assert_eq!(one(Area::Holding, WriteBy::ReadBack, &[1]), [23]);
        assert_eq!(codes(&[field(WriteBy::Mask, false)], vec![(0, vec![5])]), [22]);
        assert_eq!(codes(&[field(WriteBy::Single, false)], vec![(0, vec![5])]), [0]);
    }

    #[test]
    fn a_field_is_masked_as_it_lies_in_the_register() {
        let what = |swap_bytes| writes(&[field(WriteBy::Mask, swap_bytes)], vec![(0, vec![5])]).remove(0).what;
        assert_eq!(what(false), What::Request(Request::MaskRegister { address: 3, and: 0xff8f, or: 0x0050 }));
        assert_eq!(what(true), What::Request(Request::MaskRegister { address: 3, and: 0x8fff, or: 0x5000 }));
    }

    #[test]
    fn of_a_set_that_fails_it_is_told_what_was_set_and_what_was_not() {
        let named = |identifier: &str, address| Point { identifier: identifier.into(), ..point(Area::Holding, address, WriteBy::Usual) };
        let points = [named("good", 0), named("beside", 1), named("bad", 900), named("good2", 5), named("good3", 7)];
        let writes = writes(&points, (0..points.len()).map(|at| (at, vec![1])).collect());
        assert_eq!(names(&points, &writes[1..2]), "`bad`");
        assert_eq!(others(&points, &writes[..1], &writes[2..]), "; set before it: `good`, `beside`; not set after it: `good2`, `good3`");
        assert_eq!(others(&points, &writes[..1], &[]), "; set before it: `good`, `beside`");
        assert_eq!(others(&points, &[], &[]), "");
    }

    #[test]
    fn neighbours_are_written_together_and_others_in_their_order() {
        let holding: Vec<Point> = [10, 11, 12, 20].map(|address| point(Area::Holding, address, WriteBy::Usual)).into();
        let values = |order: &[usize]| order.iter().map(|at| (*at, vec![*at as u16])).collect::<Vec<_>>();
        assert_eq!(codes(&holding, values(&[0, 1, 2, 3])), [16, 6]);
        assert_eq!(codes(&holding, values(&[2, 1, 0])), [6, 6, 6]);
        let coils: Vec<Point> = [0, 1, 2].map(|address| point(Area::Coil, address, WriteBy::Usual)).into();
        assert_eq!(codes(&coils, values(&[0, 1, 2])), [15]);
        let single: Vec<Point> = [0, 1].map(|address| point(Area::Coil, address, WriteBy::Single)).into();
        assert_eq!(codes(&single, values(&[0, 1])), [5, 5]);
        let many: Vec<Point> = (0..130).map(|address| point(Area::Holding, address, WriteBy::Usual)).collect();
        assert_eq!(codes(&many, values(&(0..130).collect::<Vec<_>>())), [16, 16]);
    }
}
