//! Reads how many tests passed and failed out of a runner's own summary lines.

use std::ops::AddAssign;

/// How many checks passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Checks that held.
    pub passed: u64,
    /// Checks that did not, timeouts included.
    pub failed: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Count {
    /// The count in one line of output, if it is a summary: of libtest (`test result: …`), of
    /// nextest (`Summary … tests run: …`), of forge (`Ran … total tests)`), or a line of the plain form `N passed, N failed`.
    pub fn in_line(line: &str) -> Option<Self> {
        let summary = line.trim_start().starts_with("test result:")
            || line.contains("tests run:")
            || line.contains("test run:")
            || is_forge(line)
            || is_plain(line);
        summary.then(|| Self {
            passed: before(line, "passed").max(before(line, "tests passed")),
            failed: before(line, "failed") + before(line, "timed out"),
        })
    }
}

fn is_forge(line: &str) -> bool {
    line.starts_with("Ran ") && line.trim_end().ends_with("total tests)")
}

fn is_plain(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let number = |word: Option<&str>| word.is_some_and(|word| word.parse::<u64>().is_ok());
    number(words.next())
        && words.next() == Some("passed,")
        && number(words.next())
        && words.next() == Some("failed")
        && words.next().is_none()
}

/// The number in front of `word`, or 0.
fn before(line: &str, word: &str) -> u64 {
    line.match_indices(word)
        .filter_map(|(at, _)| line[..at].split_whitespace().last()?.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[track_caller]
    fn check(line: &str, expected: Option<(u64, u64)>) {
        let expected = expected.map(|(passed, failed)| Count { passed, failed });
        assert_eq!(Count::in_line(line), expected, "{line}");
    }

    #[test]
    fn summaries_are_read_and_other_lines_are_not() {
        check(
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out",
            Some((12, 0)),
        );
        check(
            "test result: FAILED. 3 passed; 2 failed; 0 ignored",
            Some((3, 2)),
        );
        check(
            "     Summary [   1.2s] 40 tests run: 38 passed (1 slow), 1 failed, 1 timed out, 2 skipped",
            Some((38, 2)),
        );
        check(
            "     Summary [   0.1s] 1 test run: 1 passed, 0 skipped",
            Some((1, 0)),
        );
        check(
            "Ran 6 test suites in 5.69s (10.97s CPU time): 86 tests passed, 5 failed, 0 skipped (91 total tests)",
            Some((86, 5)),
        );
        check("Ran 5 tests for test/unit/Vectors.t.sol:VectorsTest", None);
        check("7 passed, 1 failed", Some((7, 1)));
        check("order 7 passed the gate, 1 failed", None);
        check(
            "        PASS [   0.004s] lifeboat-engine types::tests::ticks",
            None,
        );
    }
}
