//! Covering arrays: few rows of a pool that still hold every combination of levels, two or three factors at a time, that the
//! pool holds. A fault that takes two options to show is then met, at a small part of the product's cost.
//!
//! For each combination that no row so far has, the one of some rows that have it which brings the most others (Cohen, Dalal,
//! Fredman, Patton, "The AETG system", 1997). Nothing is random: equal pools give equal choices.

use std::cmp::Reverse;

/// A level for each factor.
pub(crate) type Levels<const N: usize> = [u8; N];

/// How many factors are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// Every two levels of two factors.
    Pairs,
    /// Every three levels of three factors.
    Triples,
}

/// Rows that are tried for a combination that no row so far has: with four times as many the array is a twentieth smaller.
const TRIED: usize = 48;

/// The places of the chosen rows in `pool`, in its order.
pub(crate) fn choose<const N: usize>(pool: &[Levels<N>], strength: Strength) -> Vec<usize> {
    let combinations = Combinations::new(pool, strength);
    let mut left = Set::new(combinations.count);
    for row in pool {
        combinations.of(row).for_each(|combination| left.insert(combination));
    }
    let mut chosen = Vec::new();
    for (triple, first) in &combinations.factors {
        for number in *first..first + combinations.levels_of(*triple) {
            if !left.contains(number) {
                continue;
            }
            let has = |row: &Levels<N>| combinations.number(row, *triple, *first) == number;
            let with: Vec<usize> = (0..pool.len()).filter(|row| has(&pool[*row])).collect();
            let brings = |row: usize| combinations.of(&pool[row]).filter(|it| left.contains(*it)).count();
            let tried = with.iter().copied().step_by(with.len().div_ceil(TRIED).max(1));
            let Some(best) = tried.max_by_key(|row| (brings(*row), Reverse(*row))) else { continue };
            combinations.of(&pool[best]).for_each(|combination| left.remove(combination));
            chosen.push(best);
        }
    }
    chosen.sort_unstable();
    chosen
}

/// The combinations of factors, and a number for each combination of their levels.
struct Combinations {
    /// Two or three factors, and the number of their first combination of levels.
    factors: Vec<([usize; 3], usize)>,
    /// Levels of each factor; a last factor of one level stands for the third of a pair.
    radices: Vec<usize>,
    count: usize,
}

impl Combinations {
    fn new<const N: usize>(pool: &[Levels<N>], strength: Strength) -> Self {
        let radix = |factor: usize| pool.iter().map(|row| usize::from(row[factor]) + 1).max().unwrap_or(1);
        let radices: Vec<usize> = (0..N).map(radix).chain([1]).collect();
        let mut factors = Vec::new();
        let mut count = 0;
        let mut add = |triple: [usize; 3]| {
            factors.push((triple, count));
            count += triple.iter().map(|factor| radices[*factor]).product::<usize>();
        };
        for first in 0..N {
            for second in first + 1..N {
                match strength {
                    Strength::Pairs => add([first, second, N]),
                    Strength::Triples => (second + 1..N).for_each(|third| add([first, second, third])),
                }
            }
        }
        Self { factors, radices, count }
    }

    /// How many combinations of levels these factors have.
    fn levels_of(&self, triple: [usize; 3]) -> usize {
        triple.iter().map(|factor| self.radices[*factor]).product()
    }

    /// The number of a row's combination of these factors, whose first is `first`.
    fn number<const N: usize>(&self, row: &Levels<N>, triple: [usize; 3], first: usize) -> usize {
        let level = |factor: usize| row.get(factor).map_or(0, |level| usize::from(*level));
        let within = |number, factor: &usize| number * self.radices[*factor] + level(*factor);
        first + triple.iter().fold(0, within)
    }

    fn of<'a, const N: usize>(&'a self, row: &'a Levels<N>) -> impl Iterator<Item = usize> + 'a {
        self.factors.iter().map(|(triple, first)| self.number(row, *triple, *first))
    }
}

/// A set of numbers below a bound.
struct Set(Vec<u64>);

impl Set {
    fn new(bound: usize) -> Self {
        Self(vec![0; bound.div_ceil(64)])
    }

    fn contains(&self, number: usize) -> bool {
        self.0[number / 64] >> (number % 64) & 1 == 1
    }

    fn insert(&mut self, number: usize) {
        self.0[number / 64] |= 1 << (number % 64);
    }

    fn remove(&mut self, number: usize) {
        self.0[number / 64] &= !(1 << (number % 64));
    }
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
                        Strength::Pairs => {
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
        // No array of pairs is smaller than the product of the two largest factors, no array of triples than that of three.
        for (strength, least, most) in [(Strength::Pairs, 12, 15), (Strength::Triples, 33, 45)] {
            let chosen = choose(&pool, strength);
            let rows = chosen.iter().map(|row| pool[*row]);
            assert_eq!(combinations(rows, strength), combinations(pool.iter().copied(), strength));
            assert!((least..=most).contains(&chosen.len()), "{} rows for {strength:?}", chosen.len());
        }
    }

    #[test]
    fn one_row_and_none_are_pools_too() {
        assert_eq!(choose(&[[1, 2, 3]], Strength::Triples), [0]);
        assert_eq!(choose::<3>(&[], Strength::Pairs), [0; 0]);
    }
}
