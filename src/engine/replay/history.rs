//! What has been done to one machine, replayed or live, and how to do it again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::checkpoints::{Begun, Held};
use super::key::Key;
use super::lanes::{Lane, Lanes, Position};
use super::policy::{self, Account};
use super::record::Record;
use super::records::Owner;
use super::run::Replay;
use crate::engine::{BuildCx, Session};
use crate::error::Result;

/// Does an operation again, on the machine that the session has now.
pub type Redo = Arc<dyn Fn(Arc<Session>, BuildCx) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// One operation that belongs to a machine's state.
#[derive(Clone)]
pub struct Step {
    /// The record that tells of it.
    pub record: Arc<Record>,
    /// None where it leaves the machine as it is.
    pub redo: Option<Redo>,
}

/// Where an operation stands in a machine's history.
#[derive(Debug, Clone)]
pub struct Place {
    pub lane: Lane,
    pub before: Position,
    pub key: Key,
}

struct State {
    lanes: Lanes,
    /// The lane in which the machine was first used: branches are counted from there.
    base: Option<Lane>,
    steps: Vec<Step>,
    /// Records that nothing was recorded after, and that were gone on from all the same: the ends of branches.
    survivors: Vec<String>,
    /// Whether there is a machine and what is done is done to it.
    live: bool,
    /// Whether nothing is replayed any more, and why.
    stopped: Option<String>,
    /// How many operations of each lane are being done.
    doing: BTreeMap<Lane, u32>,
    account: Account,
    /// Whether checkpoints are taken: not of throwaway machines, and not after one could not be taken.
    saves: bool,
    /// Ends when the checkpoint that is being written is.
    saving: Option<CancellationToken>,
    /// What the machine's disks are made of, kept from being removed.
    held: Vec<Held>,
    unfinished: Vec<Arc<Begun>>,
}

/// The history of one machine.
pub struct History {
    pub run: Arc<Replay>,
    pub owner: Owner,
    /// The builder's name.
    pub builder: &'static str,
    /// Held while the machine is woken: nothing is replayed then.
    pub waking: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

impl History {
    /// Begins with nothing: the machine's boot is the first step.
    pub fn new(run: Arc<Replay>, owner: Owner, builder: &'static str, saves: bool) -> History {
        let begin = Position { key: Key::ROOT, id: super::record::ROOT.to_owned() };
        History {
            run,
            owner,
            builder,
            waking: tokio::sync::Mutex::default(),
            state: Mutex::new(State {
                lanes: Lanes::new(begin),
                base: None,
                steps: Vec::new(),
                survivors: Vec::new(),
                live: false,
                stopped: None,
                doing: BTreeMap::new(),
                account: Account { redo: 0.0, cost: policy::FIRST_COST, delayed: 0.0, delay: 0.0, worked: 0.0 },
                saves,
                saving: None,
                held: Vec::new(),
                unfinished: Vec::new(),
            }),
        }
    }

    /// Returns the history of another machine that goes on from here as a branch of that name, in that lane.
    pub fn fork(&self, name: &str, lane: &Lane) -> History {
        let fork = History::new(self.run.clone(), self.owner.clone(), self.builder, true);
        {
            let (mut ours, mut theirs) = (self.lock(), fork.lock());
            let here = ours.lanes.at(&Lane::default());
            theirs.lanes = Lanes::new(Position { key: here.key.branch(&format!("fork {name}")), id: here.id });
            theirs.base = Some(lane.clone());
            theirs.steps.clone_from(&ours.steps);
            theirs.stopped.clone_from(&ours.stopped);
            theirs.held.clone_from(&ours.held);
        }
        fork
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether a lane is a branch of the machine's own chain: others may be working on the machine.
    pub fn is_branch(&self, lane: &Lane) -> bool {
        let state = self.lock();
        state.base.as_ref().is_some_and(|base| lane.inside(base) != Lane::default())
    }

    /// Returns where the next operation of a lane stands.
    pub fn place(&self, lane: &Lane, kind: &str, request: &serde_json::Value) -> Place {
        let mut state = self.lock();
        let base = state.base.get_or_insert_with(|| lane.clone()).clone();
        let lane = lane.inside(&base);
        let open = state.lanes.ends();
        let before = state.lanes.at(&lane);
        let ended = state.lanes.ends();
        state.survivors.extend(open.into_iter().filter(|id| !ended.contains(id)));
        Place { lane, key: before.key.next(kind, request), before }
    }

    /// Tells whether there is a machine.
    pub fn is_live(&self) -> bool {
        self.lock().live
    }

    /// Says that the machine is there now; `worked` is how long that took, and `redone` how much of it to redo what came
    /// after its checkpoint.
    pub fn wake(&self, worked: f64, redone: f64) {
        let mut state = self.lock();
        state.live = true;
        state.account = Account { redo: redone, worked, ..state.account };
    }

    /// Says that the machine is gone, and can be brought back to where it was.
    pub fn sleep(&self) {
        self.lock().live = false;
    }

    /// Replays nothing from now on.
    pub fn stop_replaying(&self, why: String) {
        self.lock().stopped.get_or_insert(why);
    }

    /// Returns why nothing is replayed any more.
    pub fn stopped(&self) -> Option<String> {
        self.lock().stopped.clone()
    }

    /// Adds an operation that was replayed.
    pub fn replayed(&self, place: &Place, step: Step) {
        let mut state = self.lock();
        state.lanes.advance(&place.lane, Position { key: place.key, id: step.record.id.clone() });
        state.steps.push(step);
    }

    /// Begins to do an operation. Unless [`Doing::done`] is called its effect is unknown, and nothing that comes after it is
    /// ever replayed.
    pub fn begin<'a>(&'a self, place: &'a Place) -> Doing<'a> {
        let mut state = self.lock();
        let doing = state.doing.entry(place.lane.clone()).or_default();
        *doing += 1;
        // Two at once in one lane end in no order that another run would have.
        let alone = *doing == 1;
        Doing { history: self, place, alone, done: false }
    }

    /// Takes the ids of records that were gone on from without a record that says so.
    pub fn survivors(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().survivors)
    }

    /// Names the last operation of which a checkpoint is kept.
    pub fn returns_to(&self) -> Option<String> {
        let steps = self.steps();
        let kept = |step: &&Step| self.run.checkpoints.exists(&step.record.id, self.builder);
        steps.iter().rev().find(kept).map(|step| step.record.named())
    }

    /// Returns all steps, the boot first.
    pub fn steps(&self) -> Vec<Step> {
        self.lock().steps.clone()
    }

    /// Tells whether one operation is being done, and nothing else.
    pub fn is_alone(&self) -> bool {
        let state = self.lock();
        state.lanes.is_one() && state.doing.values().sum::<u32>() == 1
    }

    /// Returns the last step, when the machine is at one instant of its history: nothing is being done to it, and no
    /// branches are open.
    pub fn settled(&self) -> Option<Step> {
        let state = self.lock();
        (state.lanes.is_one() && state.doing.is_empty()).then(|| state.steps.last().cloned()).flatten()
    }

    /// Tells whether a checkpoint is worth its cost now.
    pub fn is_worth_saving(&self) -> bool {
        let state = self.lock();
        let idle = state.saving.as_ref().is_none_or(CancellationToken::is_cancelled);
        state.live && state.saves && idle && policy::is_worth(state.account)
    }

    /// Tells whether what was redone took so long that it should not have to be done again.
    pub fn is_worth_saving_after(&self, redone: f64) -> bool {
        let state = self.lock();
        state.saves && redone > state.account.cost
    }

    /// Tells whether checkpoints are taken at all.
    pub fn saves(&self) -> bool {
        self.lock().saves
    }

    /// Takes no more checkpoints.
    pub fn stop_saving(&self) {
        self.lock().saves = false;
    }

    /// Begins a checkpoint; its writing ends when the token does.
    pub fn saving(&self, written: CancellationToken) {
        let mut state = self.lock();
        state.account.redo = 0.0;
        state.saving = Some(written);
    }

    /// Enters what a checkpoint cost, in seconds: in all, and in delay of the machine.
    pub fn saved(&self, cost: f64, delay: f64, held: Held) {
        let mut state = self.lock();
        (state.account.cost, state.account.delay) = (cost, delay);
        state.account.delayed += delay;
        state.held.push(held);
    }

    /// Keeps a checkpoint that is used.
    pub fn hold(&self, held: Held) {
        self.lock().held.push(held);
    }

    /// Keeps the folder of a checkpoint that was not completed: the machine's disks may be made of it.
    pub fn keep(&self, begun: Arc<Begun>) {
        self.lock().unfinished.push(begun);
    }

    /// Stops keeping such a folder: it has been completed.
    pub fn forget(&self, begun: &Arc<Begun>) {
        self.lock().unfinished.retain(|other| !Arc::ptr_eq(other, begun));
    }

    /// Returns the checkpoint that the machine's disks are made of now.
    pub fn parent(&self) -> Option<String> {
        self.lock().held.last().map(|held| held.meta().id.clone())
    }

    /// Lets go of what the machine was made of, which is gone.
    pub fn release(&self) {
        let (held, unfinished) = {
            let mut state = self.lock();
            (std::mem::take(&mut state.held), std::mem::take(&mut state.unfinished))
        };
        drop((held, unfinished));
    }

    /// Waits until the checkpoint that is being written is.
    pub async fn written(&self) {
        let saving = self.lock().saving.clone();
        if let Some(saving) = saving {
            saving.cancelled().await;
        }
    }
}

/// An operation that is being done.
#[must_use]
pub struct Doing<'a> {
    history: &'a History,
    place: &'a Place,
    alone: bool,
    done: bool,
}

impl Doing<'_> {
    /// Takes the operation back: the machine it was done to is going to be given up.
    pub fn taken_back(mut self) {
        self.done = true;
    }

    /// Adds the operation to the history; `seconds` is how long it would take to do it again.
    pub fn done(mut self, step: Step, seconds: f64) {
        self.done = true;
        let mut state = self.history.lock();
        if self.alone && state.doing.get(&self.place.lane) == Some(&1) {
            state.lanes.advance(&self.place.lane, Position { key: self.place.key, id: step.record.id.clone() });
        } else {
            state.lanes.advance(&self.place.lane, lost(self.place));
        }
        if step.redo.is_some() {
            state.account.redo += seconds;
        }
        state.account.worked += seconds;
        state.steps.push(step);
    }
}

impl Drop for Doing<'_> {
    fn drop(&mut self) {
        let mut state = self.history.lock();
        if let Some(doing) = state.doing.get_mut(&self.place.lane) {
            *doing -= 1;
            if *doing == 0 {
                state.doing.remove(&self.place.lane);
            }
        }
        if !self.done {
            let lost = lost(self.place);
            state.lanes.advance(&self.place.lane, lost);
            state.saves = false;
        }
    }
}

/// Returns where a machine stands to which something unknown was done.
fn lost(place: &Place) -> Position {
    Position { key: place.before.key.unrepeatable(), id: uuid::Uuid::new_v4().simple().to_string() }
}
