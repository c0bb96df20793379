//! The host's side of the interface `sql`: calls go to the session of the instance.

use wasmtime::component::Resource;

use crate::bindings::keylane::handler::sql::{self, Error, Rows, Value};
use crate::sql::session::SqlSession;
use crate::state::GuestState;

/// What a guest's handle to a database stands for: nothing but the right to use the session, which was
/// checked when it was opened. So it outlives an event.
pub struct DatabaseHandle;

impl sql::Host for GuestState {}

impl sql::HostDatabase for GuestState {
    async fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<DatabaseHandle>, Error>> {
        let _call = self.host_call();
        if let Err(error) = self.session::<SqlSession>()?.granted(&name) {
            return Ok(Err(error));
        }
        let handle = self.table.push(DatabaseHandle);
        Ok(handle.map_err(|_| Error::Limit("this instance holds too many open handles".to_owned())))
    }

    async fn query(
        &mut self,
        _database: Resource<DatabaseHandle>,
        statement: String,
        parameters: Vec<Value>,
    ) -> wasmtime::Result<Result<Rows, Error>> {
        let _call = self.host_call();
        Ok(self.session::<SqlSession>()?.query(statement, parameters).await)
    }

    async fn execute(
        &mut self,
        _database: Resource<DatabaseHandle>,
        statement: String,
        parameters: Vec<Value>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        let _call = self.host_call();
        Ok(self.session::<SqlSession>()?.execute(statement, parameters).await)
    }

    async fn drop(&mut self, database: Resource<DatabaseHandle>) -> wasmtime::Result<()> {
        self.table.delete(database)?;
        Ok(())
    }
}
