//! What a scenario is, and the list of all.
use crate::parts;

/// One call of a scenario, prepared.
pub type Work = Box<dyn FnMut()>;

/// Fixed work of one part of the house.
pub struct Scenario {
    /// `part/what/of what`. Others' work on the same input stands beside ours under the same name with the crate's name in
    /// brackets behind it.
    pub name: String,
    /// Whether other people's crate does the work: then it is shown, and not held against a baseline.
    pub beside: bool,
    /// Operations in one call; figures are for one operation.
    pub operations: u32,
    /// Calls that are counted where instructions are. A quarter as many go before, so that buffers and tables have grown.
    pub calls: u32,
    prepare: Box<dyn Fn() -> Work + Send + Sync>,
}

impl Scenario {
    /// Work of ours: one operation a call, 200 calls.
    pub fn new(name: impl Into<String>, prepare: impl Fn() -> Work + Send + Sync + 'static) -> Scenario {
        Scenario { name: name.into(), beside: false, operations: 1, calls: 200, prepare: Box::new(prepare) }
    }

    /// The same work done by `package`.
    pub fn beside(name: &str, package: &str, prepare: impl Fn() -> Work + Send + Sync + 'static) -> Scenario {
        Scenario { beside: true, ..Scenario::new(format!("{name} ({package})"), prepare) }
    }

    /// One call is so many operations.
    pub fn of(self, operations: u32) -> Scenario {
        Scenario { operations, ..self }
    }

    /// So many calls are counted.
    pub fn calls(self, calls: u32) -> Scenario {
        Scenario { calls, ..self }
    }

    /// Makes the inputs and the state.
    ///
    /// # Panics
    /// When an input does not mean what it should: then a figure would be of other work.
    pub fn prepare(&self) -> Work {
        (self.prepare)()
    }
}

/// All scenarios, in the order of the parts.
pub fn all() -> Vec<Scenario> {
    parts::all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_each_other_has_its_own_beside_it() {
        let all = all();
        let names: HashSet<&str> = all.iter().map(|s| &*s.name).collect();
        assert_eq!(names.len(), all.len());
        for scenario in all.iter().filter(|s| s.beside) {
            let (ours, _) = scenario.name.split_once(" (").expect("the crate's name in brackets");
            assert!(names.contains(ours), "{} stands beside nothing", scenario.name);
        }
    }

    #[test]
    fn every_scenario_does_what_it_should_more_than_once() {
        // The largest take seconds in a build for tests, and are the same code as smaller ones.
        for scenario in all().iter().filter(|s| !s.name.contains("00,000") && !s.name.contains("10,000")) {
            let mut work = scenario.prepare();
            (0..3).for_each(|_| work());
        }
    }
}
