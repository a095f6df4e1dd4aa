//! Partitions: the units by which state can be spread over nodes. A resource's ARN decides which one it lives in.

/// One of 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub(crate) u8);

impl Partition {
    pub const FIRST: Partition = Partition(0);

    pub const ALL: [Partition; 64] = {
        let mut all = [Partition(0); 64];
        let mut at = 0;
        while at < 64 {
            all[at] = Partition(at as u8);
            at += 1;
        }
        all
    };

    /// The partition of a name, usually an ARN: FNV-1a over its bytes, folded to six bits. It never changes.
    pub fn of(name: &str) -> Partition {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Partition(((hash ^ (hash >> 32)) % 64) as u8)
    }
}
