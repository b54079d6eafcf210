//! What every format and every transport must do, and what each does beyond that.

mod csv;
mod datagen;
mod egress;
mod flights;
mod formats;
mod inputs;
mod json;
mod outputs;
mod registry;
mod support;
