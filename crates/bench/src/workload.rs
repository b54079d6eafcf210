//! The orders workload: tables, a seeded stream of changes, the two views, and a plain reference.
//!
//! ```sql
//! CREATE TABLE orders (id BIGINT NOT NULL PRIMARY KEY, customer BIGINT NOT NULL, amount BIGINT NOT NULL);
//! CREATE TABLE customers (id BIGINT NOT NULL PRIMARY KEY, region BIGINT NOT NULL);
//! CREATE VIEW totals AS SELECT region, COUNT(*), SUM(amount)
//!     FROM orders JOIN customers ON orders.customer = customers.id GROUP BY region;
//! CREATE VIEW buyers AS SELECT region, COUNT(DISTINCT customer)
//!     FROM orders JOIN customers ON orders.customer = customers.id GROUP BY region;
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::options::Options;

/// Customers live in this many regions.
pub const REGIONS: i64 = 100;

/// The rows of the customers table.
pub struct Customers {
    pub ids: Vec<i64>,
    pub regions: Vec<i64>,
}

/// Changes of the orders table, in order: upserts, and deletions by id.
#[derive(Default)]
pub struct OrderChanges {
    pub ids: Vec<i64>,
    pub customers: Vec<i64>,
    pub amounts: Vec<i64>,
    pub is_deletion: Vec<bool>,
}

impl OrderChanges {
    /// Number of changes.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// A text of this many letters for each change: the same for the same id and amount, else another
    /// one. It does not compress.
    pub fn notes(&self, bytes: usize) -> Vec<String> {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let note = |(id, amount): (&i64, &i64)| {
            let mut random = SplitMix((*id as u64) << 20 ^ *amount as u64);
            let mut note = String::with_capacity(bytes + 8);
            while note.len() < bytes {
                let letters = random.next().to_le_bytes();
                note.extend(letters.map(|letter| char::from(LETTERS[usize::from(letter) % 64])));
            }
            note.truncate(bytes);
            note
        };
        self.ids.iter().zip(&self.amounts).map(note).collect()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    fn push(&mut self, id: i64, customer: i64, amount: i64, is_deletion: bool) {
        self.ids.push(id);
        self.customers.push(customer);
        self.amounts.push(amount);
        self.is_deletion.push(is_deletion);
    }
}

/// Generates the changes: the same ones for the same options and the same calls.
pub struct Generator {
    random: SplitMix,
    customers: u64,
    next_id: i64,
}

impl Generator {
    pub fn new(options: &Options) -> Self {
        Self {
            random: SplitMix(options.seed),
            customers: options.customers,
            next_id: 0,
        }
    }

    /// All customers, each in a random region.
    pub fn customers(&mut self) -> Customers {
        let regions = (0..self.customers).map(|_| self.random.below(REGIONS as u64) as i64);
        let regions = regions.collect();
        Customers {
            ids: (0..self.customers as i64).collect(),
            regions,
        }
    }

    /// New orders with ascending ids, of random customers.
    pub fn insertions(&mut self, rows: usize) -> OrderChanges {
        let mut changes = OrderChanges::default();
        for _ in 0..rows {
            self.insert(&mut changes);
        }
        changes
    }

    /// Two fifths new orders, two fifths replaced ones (other amount, often another customer), one
    /// fifth deleted ones. Some of the deleted are gone already, as in life.
    pub fn changes(&mut self, rows: usize) -> OrderChanges {
        let mut changes = OrderChanges::default();
        for _ in 0..rows {
            match self.random.below(5) {
                0 | 1 => self.insert(&mut changes),
                2 | 3 => {
                    let id = self.old_id();
                    let (customer, amount) = self.customer_and_amount();
                    changes.push(id, customer, amount, false);
                }
                _ => {
                    let id = self.old_id();
                    changes.push(id, 0, 0, true);
                }
            }
        }
        changes
    }

    fn insert(&mut self, changes: &mut OrderChanges) {
        let (customer, amount) = self.customer_and_amount();
        changes.push(self.next_id, customer, amount, false);
        self.next_id += 1;
    }

    fn old_id(&mut self) -> i64 {
        self.random.below(self.next_id.max(1) as u64) as i64
    }

    fn customer_and_amount(&mut self) -> (i64, i64) {
        let customer = self.random.below(self.customers) as i64;
        let amount = self.random.below(100_000) as i64;
        (customer, amount)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough for test data, and the same everywhere.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform up to a bias of `bound / 2^64`.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// What both views hold, by region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// Region to number of orders and sum of their amounts.
    pub totals: BTreeMap<i64, (i64, i64)>,
    /// Region to number of customers with an order.
    pub buyers: BTreeMap<i64, i64>,
}

/// The tables as plain vectors: what the views are computed from from scratch.
#[derive(Default)]
pub struct Reference {
    regions: Vec<i64>,
    /// Customer and amount by order id.
    orders: Vec<Option<(i64, i64)>>,
}

impl Reference {
    pub fn new(customers: &Customers) -> Self {
        Self {
            regions: customers.regions.clone(),
            orders: Vec::new(),
        }
    }

    /// Applies changes.
    pub fn apply(&mut self, changes: &OrderChanges) {
        for row in 0..changes.len() {
            let id = changes.ids[row] as usize;
            if id >= self.orders.len() {
                self.orders.resize(id + 1, None);
            }
            self.orders[id] = (!changes.is_deletion[row])
                .then_some((changes.customers[row], changes.amounts[row]));
        }
    }

    /// The orders that exist: ids, customers, amounts.
    pub fn orders(&self) -> OrderChanges {
        let mut rows = OrderChanges::default();
        for (id, order) in self.orders.iter().enumerate() {
            if let Some((customer, amount)) = *order {
                rows.push(id as i64, customer, amount, false);
            }
        }
        rows
    }

    /// Computes both views.
    pub fn answers(&self) -> Answers {
        let mut answers = Answers::default();
        let mut buyers = BTreeSet::new();
        for (customer, amount) in self.orders.iter().flatten() {
            let region = self.regions[*customer as usize];
            let (count, sum) = answers.totals.entry(region).or_default();
            *count += 1;
            *sum += amount;
            buyers.insert((region, *customer));
        }
        for (region, _) in buyers {
            *answers.buyers.entry(region).or_default() += 1;
        }
        answers
    }
}
