//! Uploads in parts, with faults on each part and on the end.

use std::sync::Arc;

use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use crate::fault::{Fault, Operation};
use crate::store::{FaultStore, Shared};

#[derive(Debug)]
pub(crate) struct FaultUpload {
    pub(crate) inner: Box<dyn MultipartUpload>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) location: Path,
}

#[async_trait::async_trait]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let (shared, location) = (self.shared.clone(), self.location.clone());
        let fault = shared.draw(Operation::Part, &location);
        shared.moved(Operation::Part, payload.content_length() as u64);
        // The part takes its number now, in order, even if it is lost.
        let sent = self.inner.put_part(payload);
        Box::pin(async move {
            match fault {
                Some(Fault::Refused(answer) | Fault::Held(answer)) => answer.give(location.as_ref()).await,
                Some(Fault::Done(answer)) => {
                    sent.await?;
                    answer.give(location.as_ref()).await
                }
                Some(Fault::Slow(pause)) => {
                    tokio::time::sleep(pause).await;
                    sent.await
                }
                Some(Fault::Short(_) | Fault::Flip(_)) | None => sent.await,
            }
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        match self.shared.draw(Operation::Complete, &self.location) {
            Some(Fault::Refused(answer) | Fault::Held(answer)) => answer.give(self.location.as_ref()).await,
            Some(Fault::Done(answer)) => {
                self.inner.complete().await?;
                self.shared.created(&self.location);
                answer.give(self.location.as_ref()).await
            }
            other => {
                if let Some(Fault::Slow(pause)) = other {
                    tokio::time::sleep(pause).await;
                }
                let result = self.inner.complete().await?;
                self.shared.created(&self.location);
                Ok(result)
            }
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

#[async_trait::async_trait]
impl MultipartStore for FaultStore {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.shared.numbered()?.create_multipart(path).await
    }

    async fn put_part(&self, path: &Path, id: &MultipartId, part: usize, payload: PutPayload) -> Result<PartId> {
        let fault = self.shared.draw(Operation::Part, path);
        self.shared.moved(Operation::Part, payload.content_length() as u64);
        let put = self.shared.numbered()?.put_part(path, id, part, payload);
        match fault {
            Some(Fault::Refused(answer) | Fault::Held(answer)) => answer.give(path.as_ref()).await,
            Some(Fault::Done(answer)) => {
                put.await?;
                answer.give(path.as_ref()).await
            }
            Some(Fault::Slow(pause)) => {
                tokio::time::sleep(pause).await;
                put.await
            }
            Some(Fault::Short(_) | Fault::Flip(_)) | None => put.await,
        }
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        let fault = self.shared.draw(Operation::Complete, path);
        match fault {
            Some(Fault::Refused(answer) | Fault::Held(answer)) => return answer.give(path.as_ref()).await,
            Some(Fault::Slow(pause)) => tokio::time::sleep(pause).await,
            _ => {}
        }
        let result = self.shared.numbered()?.complete_multipart(path, id, parts).await?;
        self.shared.created(path);
        match fault {
            Some(Fault::Done(answer)) => answer.give(path.as_ref()).await,
            _ => Ok(result),
        }
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.shared.numbered()?.abort_multipart(path, id).await
    }
}
