//! The host's side of the interface `sql`: calls go to the session of the instance.

use std::sync::Arc;

use wasmtime::component::Resource;

use crate::at_work::told;
use crate::bindings::keylane::handler::sql::{self, Error, Rows, Value};
use crate::sql::session::SqlSession;
use crate::sql::value;
use crate::state::GuestState;

/// What a guest's handle to a database stands for: nothing but its name, the grant of which was checked
/// when it was opened. So it outlives an event.
pub struct DatabaseHandle {
    name: Arc<str>,
}

impl sql::Host for GuestState {}

impl sql::HostDatabase for GuestState {
    async fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<DatabaseHandle>, Error>> {
        let _call = self.host_call();
        if let Err(error) = self.session::<SqlSession>()?.granted(&name) {
            return Ok(Err(value::error(error)));
        }
        let handle = self.table.push(DatabaseHandle { name: name.into() });
        Ok(handle.map_err(|_| Error::Limit("this instance holds too many open handles".to_owned())))
    }

    async fn query(
        &mut self,
        database: Resource<DatabaseHandle>,
        statement: String,
        parameters: Vec<Value>,
    ) -> wasmtime::Result<Result<Rows, Error>> {
        let _call = self.host_call();
        let name = self.table.get(&database)?.name.clone();
        let parameters = parameters.into_iter().map(value::from_guest).collect();
        let answer = self.session::<SqlSession>()?.query(&name, &statement, parameters).await;
        told(answer.map(value::rows), value::error)
    }

    async fn execute(
        &mut self,
        database: Resource<DatabaseHandle>,
        statement: String,
        parameters: Vec<Value>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        let _call = self.host_call();
        let name = self.table.get(&database)?.name.clone();
        let parameters = parameters.into_iter().map(value::from_guest).collect();
        let answer = self.session::<SqlSession>()?.execute(&name, &statement, parameters).await;
        told(answer, value::error)
    }

    async fn append(
        &mut self,
        database: Resource<DatabaseHandle>,
        statement: String,
        parameters: Vec<Value>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let _call = self.host_call();
        let name = self.table.get(&database)?.name.clone();
        let parameters = parameters.into_iter().map(value::from_guest).collect();
        let answer = self.session::<SqlSession>()?.append(&name, &statement, parameters).await;
        told(answer, value::error)
    }

    async fn drop(&mut self, database: Resource<DatabaseHandle>) -> wasmtime::Result<()> {
        self.table.delete(database)?;
        Ok(())
    }
}
