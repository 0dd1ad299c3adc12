//! How a component is damaged: bytes anywhere, or sections with the lengths around them made right again, so that the damage
//! gets past the first look.

/// The same numbers for the same seed, on every machine (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// One mutant of `components[base]`; some take a section from another of them.
pub fn mutant(components: &[Vec<u8>], base: usize, random: &mut Random) -> Vec<u8> {
    let bytes = components[base].clone();
    match random.below(10) {
        0 => damaged(bytes, random),
        1 => truncated(bytes, random),
        _ => {
            let mut sections = parse(&bytes, Layer::Component);
            for _ in 0..=random.below(2) {
                let other = &components[random.below(components.len())];
                rearrange(&mut sections, other, random);
            }
            encode(&bytes[..PREAMBLE_BYTES], &sections)
        }
    }
}

fn damaged(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    if bytes.is_empty() {
        return bytes;
    }
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let end = (at + 1 + random.below(16)).min(bytes.len());
        match random.below(4) {
            0 | 1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at..end].fill([0, 0xff, 0x80][random.below(3)]),
            // The largest number where a small one stood: a count, a length, an index.
            _ => drop(bytes.splice(at..=at, [0xff, 0xff, 0xff, 0xff, 0x0f])),
        }
    }
    bytes
}

fn truncated(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    bytes.truncate(random.below(bytes.len()));
    bytes
}

fn rearrange(sections: &mut Vec<Section>, other: &[u8], random: &mut Random) {
    let list = somewhere(sections, random);
    let (at, to) = (random.below(list.len()), random.below(list.len()));
    match random.below(8) {
        0 => drop(list.remove(at)),
        1 => list.insert(to, list[at].clone()),
        2 => list.swap(at, to),
        3 => {
            let mut others = parse(other, Layer::Component);
            let from = somewhere(&mut others, random);
            list.insert(to, from[random.below(from.len())].clone());
        }
        _ => {
            if let Body::Bytes(body) = &mut list[at].body {
                *body = damaged(std::mem::take(body), random);
            }
        }
    }
}

/// A list of sections: the outermost, or one inside.
fn somewhere<'a>(list: &'a mut Vec<Section>, random: &mut Random) -> &'a mut Vec<Section> {
    let inner: Vec<usize> = (0..list.len()).filter(|at| matches!(&list[*at].body, Body::Inner(inner) if !inner.is_empty())).collect();
    if inner.is_empty() || random.below(2) == 0 {
        return list;
    }
    let at = inner[random.below(inner.len())];
    match &mut list[at].body {
        Body::Inner(inner) => somewhere(inner, random),
        Body::Bytes(_) => unreachable!("only sections with sections inside were looked at"),
    }
}

#[derive(Clone)]
struct Section {
    id: u8,
    body: Body,
}

#[derive(Clone)]
enum Body {
    Bytes(Vec<u8>),
    /// A module or a component inside.
    Inner(Vec<Section>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Component,
    Module,
}

const PREAMBLE_BYTES: usize = 8;
const MODULE_PREAMBLE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT_PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";
const CUSTOM: u8 = 0;
const MODULE_IN_COMPONENT: u8 = 1;
const COMPONENT_IN_COMPONENT: u8 = 4;

/// The sections of a whole component or module, without those that only people read.
fn parse(bytes: &[u8], layer: Layer) -> Vec<Section> {
    let (mut sections, mut rest) = (Vec::new(), &bytes[PREAMBLE_BYTES..]);
    while let Some((&id, after)) = rest.split_first() {
        let (length, after) = read_length(after);
        let (body, after) = after.split_at(length);
        rest = after;
        let body = match (layer, id) {
            (Layer::Component, MODULE_IN_COMPONENT) => Body::Inner(parse(body, Layer::Module)),
            (Layer::Component, COMPONENT_IN_COMPONENT) => Body::Inner(parse(body, Layer::Component)),
            _ => Body::Bytes(body.to_vec()),
        };
        if id != CUSTOM {
            sections.push(Section { id, body });
        }
    }
    sections
}

fn encode(preamble: &[u8], sections: &[Section]) -> Vec<u8> {
    let mut bytes = preamble.to_vec();
    for section in sections {
        let body = match &section.body {
            Body::Bytes(body) => body.clone(),
            Body::Inner(inner) => encode(if section.id == MODULE_IN_COMPONENT { MODULE_PREAMBLE } else { COMPONENT_PREAMBLE }, inner),
        };
        bytes.push(section.id);
        write_length(&mut bytes, body.len());
        bytes.extend(body);
    }
    bytes
}

fn read_length(bytes: &[u8]) -> (usize, &[u8]) {
    let size = bytes.iter().position(|byte| byte & 0x80 == 0).expect("our own components are whole") + 1;
    let length = bytes[..size].iter().rev().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
    (length, &bytes[size..])
}

fn write_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length > 0x7f {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}
