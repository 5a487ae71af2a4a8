//! When a checkpoint is worth its cost.

/// What is known when an operation has just been done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Account {
    /// How long it would take to do again what was done since the last checkpoint, in seconds.
    pub redo: f64,
    /// How long the last checkpoint took to take and to store; a guess before the first.
    pub cost: f64,
    /// By how much checkpoints have delayed this machine so far.
    pub delayed: f64,
    /// By how much the last one did.
    pub delay: f64,
    /// How long has been worked on this machine, boot included.
    pub worked: f64,
}

/// How much of a machine's time its checkpoints may take.
const SHARE: f64 = 0.04;
/// What a checkpoint is believed to cost before one was taken: what 1 GiB of memory costs on two cores.
pub const FIRST_COST: f64 = 1.5;

/// Says whether to take a checkpoint now: when to redo what was done since the last one would take longer than to take
/// and store one, and as long as all of them together delay a machine by less than a twenty-fifth of its time.
pub fn is_worth(account: Account) -> bool {
    account.redo > account.cost && account.delayed + account.delay <= SHARE * account.worked
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Account = Account { redo: 2.0, cost: 1.4, delayed: 0.1, delay: 0.02, worked: 20.0 };

    #[test]
    fn what_is_slow_to_redo_is_saved_and_what_is_quick_is_not() {
        assert!(is_worth(CHEAP));
        assert!(!is_worth(Account { redo: 1.0, ..CHEAP }));
        assert!(!is_worth(Account { cost: 2.5, ..CHEAP }));
    }

    #[test]
    fn the_whole_stays_within_its_share() {
        assert!(!is_worth(Account { delay: 0.8, ..CHEAP }));
        assert!(!is_worth(Account { delayed: 0.79, ..CHEAP }));
        // Thirty steps of two seconds each: as many as the share allows, and no more.
        for delay in [0.01, 0.05, 0.3, 1.0] {
            let mut account = Account { redo: 0.0, cost: 1.4, delayed: 0.0, delay, worked: 19.0 };
            let mut taken = 0;
            for _ in 0..30 {
                account.redo += 2.0;
                account.worked += 2.0;
                if is_worth(account) {
                    (account.redo, account.delayed, taken) = (0.0, account.delayed + delay, taken + 1);
                }
            }
            assert!(account.delayed <= account.worked * 0.05, "{account:?}");
            assert!(taken >= 3 && (delay > 0.05 || taken == 30), "{taken} at {delay}");
        }
    }
}
