//! The plans that the binary carries, so that a drill needs no checkout.

use super::{Plan, PlanError};

macro_rules! library {
    ($($name:literal),* $(,)?) => {
        /// Name and text of every plan of `drills/`.
        pub const LIBRARY: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../drills/", $name, ".toml")))),*];
    };
}

library!(
    "01",
    "02",
    "03",
    "04",
    "05",
    "06",
    "07",
    "08",
    "09",
    "10",
    "11",
    "12",
    "13",
    "14",
    "18",
    "19",
    "22",
    "24",
    "25",
    "all-four",
    "two-of-four",
    "wiped",
);

/// The plan of that name; `None` if there is none.
///
/// # Errors
/// When a plan of the library is none: a test excludes it.
pub fn find(name: &str) -> Result<Option<Plan>, PlanError> {
    let found = LIBRARY.iter().find(|(known, _)| *known == name);
    found
        .map(|(name, text)| Plan::parse(name, text))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::super::Executor;
    use super::*;

    #[test]
    fn every_plan_of_the_library_is_one() {
        for (name, text) in LIBRARY {
            let plan = Plan::parse(name, text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(plan.name, *name);
            assert!(plan.is_for(Executor::Live), "{name} runs on real processes");
            assert!(!plan.about.is_empty() && !plan.faults.is_empty(), "{name}");
            for invariant in ["I1", "I2", "I3", "I8"] {
                assert!(
                    plan.invariants.iter().any(|id| id == invariant),
                    "{name}: {invariant}"
                );
            }
            assert!(
                plan.has(|_| true) && plan.faults.iter().any(|one| one.measured),
                "{name}"
            );
        }
        assert!(find("99").expect("no error").is_none());
    }
}
