// SPDX-License-Identifier: GPL-2.0

//! An execution, as a sequence chart.

/// Prints the record of the last execution: a column for each thread. Where one was left for another, the line of the
/// source that it goes on with.
pub fn print() {
    let steps = kernel::check::steps();
    let mut threads: Vec<usize> = vec![];
    for (at, step) in steps.iter().enumerate() {
        let is_left = steps
            .get(at + 1)
            .is_none_or(|next| next.thread != step.thread);
        if step.is_place && !is_left {
            continue;
        }
        let known = threads.iter().position(|&thread| thread == step.thread);
        let column = known.unwrap_or_else(|| {
            threads.push(step.thread);
            threads.len() - 1
        });
        let before = "|   ".repeat(column);
        let at = if step.is_place { "... " } else { "" };
        println!("# {:8} {before}{at}{}", step.context, step.text);
    }
}
