//! The memory of queries: one pool for all of them, and a folder for what does not fit.
//!
//! Every operator and leaf takes its memory from the pool under its name. Aggregations and sorts that get no more write what they have to the
//! folder, if there is one; others wait a little for queries that are about to end; then a query ends in an error that says what to do.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use datafusion_common::{DataFusionError, Result};
use datafusion_execution::TaskContext;
use datafusion_execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion_execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryReservation};
use datafusion_execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};

/// A folder for what does not fit into memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpillFolder {
    pub path: PathBuf,
    /// Bytes that all queries together may write there.
    pub bytes: u64,
}

/// A pool of so many bytes, and where to go on without.
pub(crate) fn environment(bytes: usize, spill: Option<&SpillFolder>) -> Result<Arc<RuntimeEnv>> {
    let disk = match spill {
        Some(SpillFolder { path, bytes }) => {
            DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![path.clone()])).with_max_temp_directory_size(*bytes)
        }
        None => DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled),
    };
    RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(bytes))).with_disk_manager_builder(disk).build_arc()
}

/// Whether an error says that the pool has no more.
pub(crate) fn is_exhausted(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

/// How long is waited for memory that others hold.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// What one operator holds of the pool.
#[derive(Debug)]
pub(crate) struct OperatorMemory {
    reservation: MemoryReservation,
    environment: Arc<RuntimeEnv>,
}

impl Deref for OperatorMemory {
    type Target = MemoryReservation;

    fn deref(&self) -> &Self::Target {
        &self.reservation
    }
}

impl OperatorMemory {
    /// `spills`: whether the operator writes what it has to the folder when there is no more.
    pub(crate) fn new(name: &str, spills: bool, context: &TaskContext) -> Self {
        let environment = context.runtime_env();
        let spills = spills && environment.disk_manager.tmp_files_enabled();
        let reservation = MemoryConsumer::new(name).with_can_spill(spills).register(context.memory_pool());
        Self { reservation, environment }
    }

    /// Holds nothing yet, for the same operator.
    pub(crate) fn another(&self) -> Self {
        Self { reservation: self.reservation.new_empty(), environment: self.environment.clone() }
    }

    pub(crate) fn can_spill(&self) -> bool {
        self.consumer().can_spill()
    }

    /// Whether more is held than a share of one in `parts` of all there is.
    pub(crate) fn exceeds_share(&self, parts: usize) -> bool {
        match self.environment.memory_pool.memory_limit() {
            MemoryLimit::Finite(limit) => self.size() > limit / parts,
            MemoryLimit::Infinite | MemoryLimit::Unknown => false,
        }
    }

    pub(crate) fn environment(&self) -> &Arc<RuntimeEnv> {
        &self.environment
    }

    /// Takes so many bytes, if need be after others have given some back.
    pub(crate) async fn take_patiently(&self, bytes: usize) -> Result<()> {
        let mut waited = Duration::ZERO;
        loop {
            match self.try_grow(bytes) {
                Err(error) if is_exhausted(&error) && waited < PATIENCE => {
                    tokio::time::sleep(PAUSE).await;
                    waited += PAUSE;
                }
                outcome => return outcome,
            }
        }
    }
}
