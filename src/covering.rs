//! Covering arrays: few rows of a pool that still hold every combination of levels, two or three factors at a
//! time, that the pool holds. A fault that takes two options to show is then met, at a small part of the
//! product's cost.
//!
//! For each combination that no row so far has, the one of some rows that have it which brings the most
//! others (Cohen, Dalal, Fredman, Patton, "The AETG system", 1997). Nothing is random: equal pools give equal
//! choices.
//!
//! Sets are bits of words, because a pool may have a million rows of 3000 combinations each: the rows that
//! have a combination are the intersection of two or three sets, and what a row brings is counted up to 64 at
//! a time.

use std::cmp::Reverse;
use std::ops::Range;

/// A level for each factor.
pub(crate) type Levels<const N: usize> = [u8; N];

/// How many factors are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// Every level of a factor with every level of the first two.
    Levels,
    /// Every two levels of two factors.
    Pairs,
    /// Every three levels of three factors.
    Triples,
}

/// The places of the chosen rows in `pool`, in its order. Of the rows that have a combination which no row so
/// far has, at most `most_tried` are tried: with all of them the array is up to a sixth smaller.
pub(crate) fn choose<const N: usize>(
    pool: &[Levels<N>],
    strength: Strength,
    most_tried: usize,
) -> Vec<usize> {
    let table = Table::new(pool);
    let mut left = Left::new(&table, strength);
    let mut chosen = Vec::new();
    for combination in table.combinations(strength) {
        if !left.contains(combination) || !table.may_have(combination) {
            continue;
        }
        let with = table.rows_with(combination);
        let tried = with.iter().copied().step_by(with.len().div_ceil(most_tried).max(1));
        let Some(best) = tried.max_by_key(|row| (left.count(&table, *row), Reverse(*row))) else { continue };
        left.remove(&table, best);
        chosen.push(best);
    }
    chosen.sort_unstable();
    chosen
}

/// All factors of combinations but the last: two, or one factor twice where pairs are combined.
fn heads<const N: usize>(strength: Strength) -> Vec<[usize; 2]> {
    let with = |first: usize| match strength {
        Strength::Levels | Strength::Pairs => first..first + 1,
        Strength::Triples => first + 1..N,
    };
    let firsts = if strength == Strength::Levels { N.min(2) } else { N };
    let all = (0..firsts).flat_map(|first| with(first).map(move |second| [first, second]));
    all.filter(|[_, second]| second + 1 < N).collect()
}

/// A pool, with a number for each level of each factor, those of the first factor first.
struct Table<'a, const N: usize> {
    pool: &'a [Levels<N>],
    /// The numbers of each factor's levels.
    levels: [Range<usize>; N],
    /// Words of a set of levels.
    words: usize,
    /// Of each row the levels that it has, a set.
    has: Vec<u64>,
    /// Of each level the rows that have it, a set.
    rows: Vec<Vec<u64>>,
    /// Of each two levels whether any row has both.
    meet: Vec<bool>,
}

impl<'a, const N: usize> Table<'a, N> {
    fn new(pool: &'a [Levels<N>]) -> Self {
        let mut count = 0;
        let levels = std::array::from_fn(|factor| {
            let first = count;
            count += pool.iter().map(|row| usize::from(row[factor]) + 1).max().unwrap_or(1);
            first..count
        });
        let words = count.div_ceil(WORD);
        let mut has = vec![0; pool.len() * words];
        let mut rows = vec![vec![0; pool.len().div_ceil(WORD)]; count];
        for (place, row) in pool.iter().enumerate() {
            for (of_factor, level) in levels.iter().zip(row) {
                let level = of_factor.start + usize::from(*level);
                insert(&mut has[place * words..], level);
                insert(&mut rows[level], place);
            }
        }
        let are_in_one = |a: &[u64], b: &[u64]| a.iter().zip(b).any(|(a, b)| a & b != 0);
        let meet = rows.iter().flat_map(|a| rows.iter().map(move |b| are_in_one(a, b))).collect();
        Self { pool, levels, words, has, rows, meet }
    }

    /// Every two levels of two factors.
    fn product(&self, factors: [usize; 2]) -> impl Iterator<Item = [usize; 2]> + use<N> {
        let [first, second] = factors.map(|factor| self.levels[factor].clone());
        first.flat_map(move |a| second.clone().map(move |b| [a, b]))
    }

    /// Every three levels of three factors, or every two of two, the first of them twice.
    fn combinations(&self, strength: Strength) -> impl Iterator<Item = [usize; 3]> {
        let factors = |head: [usize; 2]| (head[1] + 1..N).map(move |last| (head, last));
        let levels = |(head, last): ([usize; 2], usize)| {
            let last = self.levels[last].clone();
            self.product(head).flat_map(move |[a, b]| last.clone().map(move |c| [a, b, c]))
        };
        heads::<N>(strength).into_iter().flat_map(factors).flat_map(levels)
    }

    /// Whether each two of these levels are in one row. If not, no row has all, and the pool is not searched.
    fn may_have(&self, [a, b, c]: [usize; 3]) -> bool {
        [[a, b], [a, c], [b, c]].iter().all(|[first, second]| self.meet[first * self.rows.len() + second])
    }

    /// The number of a row's level.
    fn number(&self, row: usize, factor: usize) -> usize {
        self.levels[factor].start + usize::from(self.pool[row][factor])
    }

    /// The levels that a row has, a set.
    fn of_row(&self, row: usize) -> &[u64] {
        &self.has[row * self.words..][..self.words]
    }

    /// The rows that have all of these levels.
    fn rows_with(&self, [a, b, c]: [usize; 3]) -> Vec<usize> {
        let words = self.rows[a].iter().zip(&self.rows[b]).zip(&self.rows[c]).map(|((a, b), c)| a & b & c);
        let mut rows = Vec::new();
        for (place, mut word) in words.enumerate() {
            while word != 0 {
                rows.push(place * WORD + word.trailing_zeros() as usize);
                word &= word - 1;
            }
        }
        rows
    }
}

/// The combinations that no chosen row has.
struct Left {
    heads: Vec<Head>,
    /// Of each two levels of a head, the levels of the factors after it with which they are left, a set.
    sets: Vec<u64>,
    levels: usize,
    words: usize,
}

/// All factors of some combinations but the last, which may be any after them.
struct Head {
    factors: [usize; 2],
    /// The first word of a set that has levels of the factors after, and which of its bits are those.
    first: usize,
    mask: u64,
}

impl Left {
    /// All combinations; those that no row of the pool has stay.
    fn new<const N: usize>(table: &Table<'_, N>, strength: Strength) -> Self {
        let (levels, words) = (table.rows.len(), table.words);
        let head = |factors: [usize; 2]| {
            let after = table.levels[factors[1]].end;
            Head { factors, first: after / WORD, mask: !0 << (after % WORD) }
        };
        let heads: Vec<Head> = heads::<N>(strength).into_iter().map(head).collect();
        let mut left = Self { heads, sets: vec![0; levels * levels * words], levels, words };
        for place in 0..left.heads.len() {
            let Head { factors, first, mask } = left.heads[place];
            for combination in table.product(factors) {
                let start = left.start(combination);
                left.sets[start + first..start + words].fill(!0);
                left.sets[start + first] = mask;
            }
        }
        left
    }

    /// Where the set of two levels begins.
    fn start(&self, [first, second]: [usize; 2]) -> usize {
        (first * self.levels + second) * self.words
    }

    /// The words that have levels after a head, of the set of a row's levels of this head.
    fn of_head<const N: usize>(&self, table: &Table<'_, N>, row: usize, head: usize) -> Range<usize> {
        let Head { factors, first, .. } = self.heads[head];
        let start = self.start(factors.map(|factor| table.number(row, factor)));
        start + first..start + self.words
    }

    fn contains(&self, [first, second, third]: [usize; 3]) -> bool {
        self.sets[self.start([first, second]) + third / WORD] >> (third % WORD) & 1 == 1
    }

    /// How many of a row's combinations are left.
    fn count<const N: usize>(&self, table: &Table<'_, N>, row: usize) -> u32 {
        let has = table.of_row(row);
        let of_head = |head: usize| {
            let set = &self.sets[self.of_head(table, row, head)];
            set.iter()
                .zip(&has[self.heads[head].first..])
                .map(|(left, has)| (left & has).count_ones())
                .sum::<u32>()
        };
        (0..self.heads.len()).map(of_head).sum()
    }

    fn remove<const N: usize>(&mut self, table: &Table<'_, N>, row: usize) {
        let has = table.of_row(row);
        for head in 0..self.heads.len() {
            let set = self.of_head(table, row, head);
            let words = self.sets[set].iter_mut().zip(&has[self.heads[head].first..]);
            words.for_each(|(left, has)| *left &= !has);
        }
    }
}

/// The bits of a word.
const WORD: usize = u64::BITS as usize;

fn insert(set: &mut [u64], number: usize) {
    set[number / WORD] |= 1 << (number % WORD);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Every combination of levels that rows hold, said the long way.
    pub(crate) fn combinations<const N: usize>(
        rows: impl IntoIterator<Item = Levels<N>>,
        strength: Strength,
    ) -> BTreeSet<Vec<(usize, u8)>> {
        let mut all = BTreeSet::new();
        for row in rows {
            let levels: Vec<(usize, u8)> = row.into_iter().enumerate().collect();
            for (first, rest) in (1..)
                .map(|after| levels.split_at(after))
                .take(N)
                .filter_map(|(to, rest)| Some((to.last()?, rest)))
            {
                for (place, second) in rest.iter().enumerate() {
                    match strength {
                        Strength::Levels if first.0 > 1 => {}
                        Strength::Levels | Strength::Pairs => {
                            all.insert(vec![*first, *second]);
                        }
                        Strength::Triples => {
                            all.extend(rest[place + 1..].iter().map(|third| vec![*first, *second, *third]));
                        }
                    }
                }
            }
        }
        all
    }

    /// All of 3 x 4 x 2 x 3 levels but those where the first two factors are both 0.
    fn pool() -> Vec<Levels<4>> {
        let mut pool = Vec::new();
        for a in 0..3 {
            for b in 0..4 {
                for c in 0..2 {
                    pool.extend((0..3).map(|d| [a, b, c, d]).filter(|row| row[0] + row[1] > 0));
                }
            }
        }
        pool
    }

    #[test]
    fn what_the_pool_has_is_chosen_and_little_more() {
        let pool = pool();
        // No array of pairs is smaller than the product of the two largest factors, which here are the first
        // and have one pair less, no array of triples than that of three.
        for (strength, least, most) in
            [(Strength::Levels, 11, 14), (Strength::Pairs, 12, 15), (Strength::Triples, 33, 45)]
        {
            let chosen = choose(&pool, strength, 48);
            let rows = chosen.iter().map(|row| pool[*row]);
            assert_eq!(combinations(rows, strength), combinations(pool.iter().copied(), strength));
            assert!((least..=most).contains(&chosen.len()), "{} rows for {strength:?}", chosen.len());
        }
    }

    #[test]
    fn one_row_and_none_are_pools_too() {
        assert_eq!(choose(&[[1, 2, 3]], Strength::Triples, usize::MAX), [0]);
        assert_eq!(choose::<3>(&[], Strength::Pairs, usize::MAX), [0; 0]);
    }
}
