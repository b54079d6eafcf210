//! Words for made-up texts.

use rand::Rng;

/// A kind of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WordKind {
    Word,
    Words,
    Sentence,
    FirstName,
    LastName,
    Name,
    Username,
    Email,
    CityName,
    CountryName,
    CompanyName,
    Phone,
}

const KINDS: &[(&str, WordKind)] = &[
    ("word", WordKind::Word),
    ("words", WordKind::Words),
    ("sentence", WordKind::Sentence),
    ("first_name", WordKind::FirstName),
    ("last_name", WordKind::LastName),
    ("name", WordKind::Name),
    ("username", WordKind::Username),
    ("email", WordKind::Email),
    ("city_name", WordKind::CityName),
    ("country_name", WordKind::CountryName),
    ("company_name", WordKind::CompanyName),
    ("phone_number", WordKind::Phone),
];

/// Finds a kind by the strategy's name.
pub(super) fn find(name: &str) -> Option<WordKind> {
    KINDS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, kind)| *kind)
}

/// The names of all kinds.
pub(super) fn names() -> Vec<&'static str> {
    KINDS.iter().map(|(name, _)| *name).collect()
}

const WORDS: &[&str] = &[
    "amber", "anchor", "basin", "beacon", "bridge", "canal", "cedar", "channel", "cliff", "coast",
    "current", "delta", "drift", "estuary", "ferry", "flood", "gravel", "gull", "harbor", "heron",
    "inlet", "island", "kelp", "lagoon", "levee", "marsh", "mist", "oar", "pebble", "pier", "quay",
    "rapid", "reed", "ridge", "river", "sail", "shoal", "spring", "stream", "tide", "torrent",
    "valley", "wave", "weir", "willow", "wind",
];

const FIRST_NAMES: &[&str] = &[
    "Ada", "Amir", "Anna", "Bao", "Carla", "Chidi", "Dana", "Elif", "Emil", "Fatima", "Grace",
    "Hana", "Ines", "Ivan", "Jamal", "Jun", "Kofi", "Lea", "Luis", "Maya", "Mei", "Nadia", "Noah",
    "Olga", "Omar", "Priya", "Rosa", "Sami", "Tara", "Yuki",
];

const LAST_NAMES: &[&str] = &[
    "Abe", "Adeyemi", "Ali", "Andersen", "Bauer", "Chen", "Costa", "Diaz", "Fischer", "Garcia",
    "Gupta", "Haddad", "Ivanov", "Jensen", "Kaya", "Kim", "Kowalski", "Laurent", "Mensah",
    "Moreau", "Nguyen", "Novak", "Okafor", "Olsen", "Patel", "Rossi", "Sato", "Silva", "Smith",
    "Weber",
];

const CITIES: &[&str] = &[
    "Accra",
    "Bergen",
    "Cartagena",
    "Dakar",
    "Esbjerg",
    "Fremantle",
    "Gdansk",
    "Hamburg",
    "Izmir",
    "Jakarta",
    "Kobe",
    "Lisbon",
    "Mombasa",
    "Nantes",
    "Odense",
    "Porto",
    "Quito",
    "Rotterdam",
    "Seville",
    "Tampa",
    "Utrecht",
    "Valencia",
    "Wellington",
    "Yokohama",
];

const COUNTRIES: &[&str] = &[
    "Argentina",
    "Brazil",
    "Canada",
    "Denmark",
    "Egypt",
    "France",
    "Ghana",
    "India",
    "Japan",
    "Kenya",
    "Mexico",
    "Nepal",
    "Norway",
    "Peru",
    "Portugal",
    "Senegal",
    "Spain",
    "Tunisia",
    "Uruguay",
    "Vietnam",
];

const COMPANY_ENDS: &[&str] = &["Group", "Inc", "Labs", "Lines", "Ltd", "Works"];

fn pick<'a>(words: &[&'a str], rng: &mut impl Rng) -> &'a str {
    // 32 bits on every machine, so that the same seed gives the same words everywhere.
    words[rng.random_range(0..words.len() as u32) as usize]
}

fn several(count: u32, rng: &mut impl Rng) -> String {
    (0..count)
        .map(|_| pick(WORDS, rng))
        .collect::<Vec<_>>()
        .join(" ")
}

fn username(rng: &mut impl Rng) -> String {
    let (name, number) = (
        pick(FIRST_NAMES, rng).to_lowercase(),
        rng.random_range(1..10_000_u32),
    );
    format!("{name}{number}")
}

/// Makes one text.
pub(super) fn text(kind: WordKind, rng: &mut impl Rng) -> String {
    match kind {
        WordKind::Word => pick(WORDS, rng).to_owned(),
        WordKind::Words => {
            let count = rng.random_range(2..6_u32);
            several(count, rng)
        }
        WordKind::Sentence => {
            let count = rng.random_range(4..10_u32);
            format!("The {}.", several(count, rng))
        }
        WordKind::FirstName => pick(FIRST_NAMES, rng).to_owned(),
        WordKind::LastName => pick(LAST_NAMES, rng).to_owned(),
        WordKind::Name => format!("{} {}", pick(FIRST_NAMES, rng), pick(LAST_NAMES, rng)),
        WordKind::Username => username(rng),
        WordKind::Email => format!("{}@example.com", username(rng)),
        WordKind::CityName => pick(CITIES, rng).to_owned(),
        WordKind::CountryName => pick(COUNTRIES, rng).to_owned(),
        WordKind::CompanyName => {
            format!("{} {}", pick(LAST_NAMES, rng), pick(COMPANY_ENDS, rng))
        }
        WordKind::Phone => {
            format!(
                "+1-555-{:03}-{:04}",
                rng.random_range(0..1000_u32),
                rng.random_range(0..10_000_u32)
            )
        }
    }
}
