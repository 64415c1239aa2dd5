//! The one table that everything measured ends in.

/// One figure.
pub(crate) struct Row {
    pub(crate) what: String,
    /// Not a number where it could not be taken; `more` says why then.
    pub(crate) figure: f64,
    /// What it is to be at most, if anything.
    pub(crate) goal: Option<Goal>,
    pub(crate) more: String,
}

/// What a figure is to be at most.
#[derive(Clone, Copy)]
pub(crate) struct Goal {
    most: f64,
    /// What the figure may be above that, since it is no more exact.
    exact: f64,
    /// What the figure may come to as long as the goal is missed.
    bound: f64,
}

impl Goal {
    /// Of a ratio or a size, to the digits that are shown.
    pub(crate) fn at_most(most: f64) -> Self {
        Self { most, exact: 0.005, bound: most }
    }

    /// Of things that are counted for each request. What happens now and then, such as a buffer that grows or a clock that
    /// ticks, adds a few hundredths.
    pub(crate) fn count(most: f64) -> Self {
        Self { most, exact: 0.1, bound: most }
    }

    /// The same, where less has been reached: more than this is worse than it was.
    pub(crate) fn kept_at(self, bound: f64) -> Self {
        Self { bound, ..self }
    }
}

impl Row {
    /// Whether the figure is worse than it may be, goal or not.
    pub(crate) fn fails(&self) -> bool {
        self.goal.is_some_and(|goal| self.figure > goal.bound + goal.exact)
    }

    /// Whether there is a goal, and it was not reached.
    pub(crate) fn missed(&self) -> bool {
        self.goal.is_some_and(|goal| self.figure > goal.most + goal.exact)
    }

    fn cells(&self) -> [String; 4] {
        let number = |number: f64| if number.is_nan() { "-".to_owned() } else { format!("{number:.2}") };
        [
            self.what.clone(),
            number(self.figure),
            self.goal.map(|goal| number(goal.most)).unwrap_or_default(),
            self.more.clone(),
        ]
    }
}

/// As Markdown, and which goals were missed below it.
pub(crate) fn print(rows: &[Row]) {
    let titles = ["per proxied request", "figure", "goal", "detail"].map(str::to_owned);
    let cells: Vec<_> = [titles].into_iter().chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| cells.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let (what, figure, goal) = (width(0), width(1), width(2));
    println!();
    for (number, [a, b, c, d]) in cells.iter().enumerate() {
        println!("| {a:what$} | {b:figure$} | {c:goal$} | {d} |");
        if number == 0 {
            println!("| {:-<what$} | {:-<figure$} | {:-<goal$} | ------ |", "", "", "");
        }
    }
    let goals = rows.iter().filter(|row| row.goal.is_some() && !row.figure.is_nan()).count();
    let missed: Vec<_> = rows.iter().filter(|row| row.missed()).map(|row| row.what.as_str()).collect();
    println!("\n{} of {goals} goals are met", goals - missed.len());
    for what in missed {
        println!("missed: {what}");
    }
}
