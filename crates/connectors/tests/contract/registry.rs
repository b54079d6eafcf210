//! The registries of this crate and the names in `highwater_types` are the same lists.

use highwater_connectors::{decode, encode, input, output};
use highwater_types::connector::{self, Direction};

#[test]
fn names_agree_with_the_types_crate() {
    let formats: Vec<_> = decode::INPUT_FORMATS
        .iter()
        .map(|format| format.name)
        .collect();
    assert_eq!(formats, connector::INPUT_FORMATS);
    let formats: Vec<_> = encode::OUTPUT_FORMATS
        .iter()
        .map(|format| format.name)
        .collect();
    assert_eq!(formats, connector::OUTPUT_FORMATS);
    let names = |direction| -> Vec<_> {
        let known = connector::TRANSPORTS
            .iter()
            .filter(|known| known.direction == direction);
        known.map(|known| known.name).collect()
    };
    let inputs: Vec<_> = input::INPUT_TRANSPORTS
        .iter()
        .map(|kind| kind.name)
        .collect();
    assert_eq!(inputs, names(Direction::Input));
    let outputs: Vec<_> = output::OUTPUT_TRANSPORTS
        .iter()
        .map(|kind| kind.name)
        .collect();
    assert_eq!(outputs, names(Direction::Output));
}
