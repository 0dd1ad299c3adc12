//! Which requests read which points: neighbours are read together, up to what one request may carry.

use crate::layout::Raw;
use crate::mapping::{Area, Point};
use crate::pdu::{Answer, READ_BITS_MAX, READ_REGISTERS_MAX, Request};

/// One request, and the points whose values it brings, by their number in the mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    pub area: Area,
    pub start: u16,
    pub length: u16,
    pub points: Vec<usize>,
}

/// The requests that read these points. What lies between two neighbours is read along, if it is `gap` addresses at most.
pub fn reads(points: &[Point], wanted: impl IntoIterator<Item = usize>, gap: u16) -> Vec<Read> {
    let mut wanted: Vec<usize> = wanted.into_iter().collect();
    wanted.sort_by_key(|&at| (points[at].area, points[at].address, points[at].length()));
    let mut reads: Vec<Read> = Vec::new();
    for at in wanted {
        let point = &points[at];
        match reads.last_mut() {
            Some(read) if read.takes(point, gap) => {
                read.length = read.length.max(point.address - read.start + point.length());
                read.points.push(at);
            }
            _ => reads.push(Read { area: point.area, start: point.address, length: point.length(), points: vec![at] }),
        }
    }
    reads
}

impl Read {
    pub fn request(&self) -> Request {
        let (start, count) = (self.start, self.length);
        match self.area {
            Area::Coil => Request::ReadCoils { start, count },
            Area::Discrete => Request::ReadDiscrete { start, count },
            Area::Holding => Request::ReadHolding { start, count },
            Area::Input => Request::ReadInput { start, count },
        }
    }

    /// What the answer says of each point.
    pub fn values(&self, points: &[Point], answer: &Answer) -> Vec<(usize, Result<Raw, String>)> {
        let value = |&at: &usize| {
            let point = &points[at];
            let from = usize::from(point.address - self.start);
            let value = match answer {
                Answer::Bits(bits) => bits.get(from).map(|bit| Ok(Raw::Number(f64::from(u8::from(*bit))))),
                Answer::Registers(registers) => {
                    registers.get(from..from + usize::from(point.length())).map(|registers| point.layout.decode(registers))
                }
                Answer::Written => None,
            };
            (at, value.unwrap_or_else(|| Err("the answer is too short".into())))
        };
        self.points.iter().map(value).collect()
    }

    /// Two smaller requests for the same points, where the device does not have something of what is read: first the gaps
    /// between them are left out, then half of them. `None`: it is one point already.
    pub fn split(&self, points: &[Point]) -> Option<Vec<Read>> {
        if self.points.len() < 2 {
            return None;
        }
        let without_gaps = reads(points, self.points.iter().copied(), 0);
        if without_gaps.len() > 1 {
            return Some(without_gaps);
        }
        let (first, second) = self.points.split_at(self.points.len() / 2);
        Some([first, second].into_iter().flat_map(|half| reads(points, half.iter().copied(), 0)).collect())
    }

    /// Whether a point, which does not begin before this, can be read along.
    fn takes(&self, point: &Point, gap: u16) -> bool {
        let max = if self.area.is_of_bits() { READ_BITS_MAX } else { READ_REGISTERS_MAX };
        let (end, point_end) = (u32::from(self.start) + u32::from(self.length), u32::from(point.address) + u32::from(point.length()));
        self.area == point.area
            && u32::from(point.address) <= end + u32::from(gap)
            && point_end.max(end) - u32::from(self.start) <= u32::from(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Kind, Layout};
    use crate::mapping::{Report, WriteBy};
    use crate::model::Model;

    pub fn point(area: Area, address: u16, kind: Kind) -> Point {
        Point {
            identifier: format!("{area:?}{address}"),
            is_readable: true,
            is_writable: false,
            model: Model::Double { min: f64::MIN, max: f64::MAX },
            area,
            address,
            layout: Layout { kind, items: None, bits: None, swap_bytes: false, swap_registers: false, scale: 1.0, offset: 0.0 },
            report: Report::Periodic,
            interval: None,
            write_by: WriteBy::Usual,
        }
    }

    fn spans(points: &[Point], gap: u16) -> Vec<(u16, u16)> {
        reads(points, 0..points.len(), gap).iter().map(|read| (read.start, read.length)).collect()
    }

    #[test]
    fn a_thousand_neighbouring_registers_take_eight_requests() {
        let points: Vec<Point> = (0..1_000).map(|address| point(Area::Holding, address, Kind::Uint16)).collect();
        let reads = reads(&points, 0..points.len(), 0);
        assert_eq!(reads.len(), 8);
        assert!(reads.iter().all(|read| read.length <= 125));
        let floats: Vec<Point> = (0..500).map(|at| point(Area::Holding, at * 2, Kind::Float32)).collect();
        // 62 floats are 124 registers.
        assert_eq!(spans(&floats, 0).len(), 9);
        let coils: Vec<Point> = (0..4_000).map(|address| point(Area::Coil, address, Kind::Bool)).collect();
        assert_eq!(spans(&coils, 0), [(0, 2_000), (2_000, 2_000)]);
    }

    #[test]
    fn what_is_far_or_elsewhere_is_read_by_itself() {
        let points = [
            point(Area::Holding, 0, Kind::Uint16),
            point(Area::Holding, 9, Kind::Uint32),
            point(Area::Input, 1, Kind::Uint16),
            point(Area::Holding, 20, Kind::Uint16),
        ];
        assert_eq!(spans(&points, 8), [(0, 11), (20, 1), (1, 1)]);
        assert_eq!(spans(&points, 7), [(0, 1), (9, 2), (20, 1), (1, 1)]);
        assert_eq!(spans(&[point(Area::Input, 65_535, Kind::Uint16), point(Area::Input, 65_534, Kind::Uint16)], 8), [(65_534, 2)]);
    }

    #[test]
    fn points_of_one_register_share_it() {
        let points = [point(Area::Holding, 5, Kind::Uint32), point(Area::Holding, 5, Kind::Uint16), point(Area::Holding, 6, Kind::Uint16)];
        let reads = reads(&points, 0..3, 0);
        assert_eq!((reads.len(), reads[0].length), (1, 2));
        let values = reads[0].values(&points, &Answer::Registers(vec![1, 2]));
        let numbers: Vec<(usize, Raw)> = values.into_iter().map(|(at, value)| (at, value.unwrap())).collect();
        assert_eq!(numbers, [(1, Raw::Number(1.0)), (0, Raw::Number(65_538.0)), (2, Raw::Number(2.0))]);
    }

    #[test]
    fn a_refused_request_is_split_until_one_point_is_left() {
        let points: Vec<Point> = [0, 1, 5, 6].map(|address| point(Area::Holding, address, Kind::Uint16)).into();
        let whole = reads(&points, 0..4, 8).remove(0);
        let parts = whole.split(&points).unwrap();
        assert_eq!(parts.iter().map(|read| (read.start, read.length)).collect::<Vec<_>>(), [(0, 2), (5, 2)]);
        let parts = parts[1].split(&points).unwrap();
        assert_eq!(parts.iter().map(|read| (read.start, read.length)).collect::<Vec<_>>(), [(5, 1), (6, 1)]);
        assert_eq!(parts[0].split(&points), None);
    }

    proptest::proptest! {
        #[test]
        fn every_point_is_read_once_and_within_its_request(addresses in proptest::collection::vec((0_u16..4_000, 0_u8..4), 0..80), gap in 0_u16..=124) {
            let points: Vec<Point> = addresses.iter().map(|&(address, what)| match what {
                0 => point(Area::Coil, address, Kind::Bool),
                1 => point(Area::Input, address, Kind::Uint16),
                2 => point(Area::Holding, address, Kind::Float32),
                _ => point(Area::Holding, address, Kind::Text { registers: 120 }),
            }).collect();
            let mut seen = vec![0; points.len()];
            let mut waiting = reads(&points, 0..points.len(), gap);
            for read in &waiting {
                for &at in &read.points {
                    seen[at] += 1;
                    let (point, end) = (&points[at], read.start + read.length);
                    assert!(point.area == read.area && point.address >= read.start && point.address + point.length() <= end);
                }
                assert!(read.length <= if read.area.is_of_bits() { 2_000 } else { 125 });
            }
            assert!(seen.iter().all(|count| *count == 1));
            // Splitting ends, and loses nothing.
            let mut single = 0;
            while let Some(read) = waiting.pop() {
                match read.split(&points) {
                    Some(parts) => waiting.extend(parts),
                    None => single += read.points.len(),
                }
            }
            assert_eq!(single, points.len());
        }
    }
}
