//! Command line options, the same for every engine.

use std::str::FromStr;

/// How big the workload is and how it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Orders loaded before the deltas.
    pub orders: u64,
    pub customers: u64,
    /// Rows of a step while loading.
    pub load_step_rows: usize,
    pub workers: usize,
    pub seed: u64,
    /// Bytes of text in each order, which nothing computes with: for state of many bytes. Highwater only.
    pub note_bytes: usize,
    /// Directory for the state of engines that can keep it on disk; `None` keeps it in memory.
    pub storage: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            orders: 10_000_000,
            customers: 1_000_000,
            load_step_rows: 100_000,
            workers: 1,
            seed: 1,
            note_bytes: 0,
            storage: None,
        }
    }
}

/// For usage messages.
pub const USAGE: &str =
    "--orders N (10000000)  --customers N (1000000)  --load-step-rows N (100000)
  --workers N (1)  --seed N (1)  --note-bytes N (0; highwater only)  --storage DIRECTORY (none)";

impl Options {
    /// Reads `--name value` pairs.
    ///
    /// # Errors
    /// A message for the user, on an unknown name or a bad value.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            let value = arguments
                .next()
                .ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--orders" => options.orders = number(&name, &value)?,
                "--customers" => options.customers = number(&name, &value)?,
                "--load-step-rows" => options.load_step_rows = number(&name, &value)?,
                "--workers" => options.workers = number(&name, &value)?,
                "--seed" => options.seed = number(&name, &value)?,
                "--note-bytes" => options.note_bytes = number(&name, &value)?,
                "--storage" => options.storage = Some(value),
                _ => return Err(format!("unknown option {name}; options are\n  {USAGE}")),
            }
        }
        if options.customers == 0 || options.load_step_rows == 0 || options.workers == 0 {
            return Err("customers, rows and workers are at least 1".to_owned());
        }
        Ok(options)
    }

    /// The arguments that [`Self::parse`] reads as these options.
    pub fn to_arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "--orders".to_owned(),
            self.orders.to_string(),
            "--customers".to_owned(),
            self.customers.to_string(),
            "--load-step-rows".to_owned(),
            self.load_step_rows.to_string(),
            "--workers".to_owned(),
            self.workers.to_string(),
            "--seed".to_owned(),
            self.seed.to_string(),
            "--note-bytes".to_owned(),
            self.note_bytes.to_string(),
        ];
        if let Some(storage) = &self.storage {
            arguments.extend(["--storage".to_owned(), storage.clone()]);
        }
        arguments
    }
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    let digits = value.replace('_', "");
    digits
        .parse()
        .map_err(|_| format!("{name}: {value} is not a number"))
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn options_survive_the_command_line() {
        let options = Options {
            orders: 5,
            workers: 3,
            note_bytes: 7,
            storage: Some("/somewhere".to_owned()),
            ..Options::default()
        };
        assert_eq!(Options::parse(options.to_arguments()), Ok(options));
    }

    #[test]
    fn mistakes_are_named() {
        let parse = |arguments: &[&str]| Options::parse(arguments.iter().map(|&a| a.to_owned()));
        assert!(parse(&["--orders", "many"]).is_err_and(|e| e.contains("many")));
        assert!(parse(&["--order", "1"]).is_err_and(|e| e.contains("unknown option --order")));
        assert!(parse(&["--orders"]).is_err_and(|e| e.contains("needs a value")));
        assert!(parse(&["--workers", "0"]).is_err());
    }
}
