//! The calls into SQLite that sqlx has no safe form for. Each takes the locked handle, so that the
//! connection's own thread is not inside SQLite meanwhile.
#![allow(unsafe_code, reason = "calls into SQLite that sqlx's safe interface lacks")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;

use libsqlite3_sys as ffi;
use sqlx::sqlite::LockedSqliteHandle;

use crate::sqlite::authorizer::{Asked, allows};
use crate::sqlite::watch::Watch;

/// Whether no transaction is open.
pub(crate) fn autocommits(handle: &mut LockedSqliteHandle<'_>) -> bool {
    // SAFETY: the handle is open and locked for as long as the borrow lasts.
    unsafe { ffi::sqlite3_get_autocommit(handle.as_raw_handle().as_ptr()) != 0 }
}

/// Whether a foreign key of the open transaction is still to be made good, so that COMMIT would fail.
pub(crate) fn foreign_keys_pending(handle: &mut LockedSqliteHandle<'_>) -> bool {
    let (mut pending, mut highest) = (0, 0);
    let status = ffi::SQLITE_DBSTATUS_DEFERRED_FKS;
    // SAFETY: the handle is open and locked; both places outlive the call.
    let code = unsafe {
        let connection = handle.as_raw_handle().as_ptr();
        ffi::sqlite3_db_status(connection, status, &raw mut pending, &raw mut highest, 0)
    };
    code != ffi::SQLITE_OK || pending != 0
}

/// Whether the file that this connection has open no longer lies where it was opened.
pub(crate) fn has_moved(handle: &mut LockedSqliteHandle<'_>) -> bool {
    let mut moved: c_int = 0;
    // SAFETY: the handle is open and locked; the name ends with a NUL, and the place is an int, as this
    // question wants it, and outlives the call.
    let code = unsafe {
        let (connection, place) = (handle.as_raw_handle().as_ptr(), (&raw mut moved).cast::<c_void>());
        ffi::sqlite3_file_control(connection, c"main".as_ptr(), ffi::SQLITE_FCNTL_HAS_MOVED, place)
    };
    code != ffi::SQLITE_OK || moved != 0
}

/// Bounds each text, blob and row of this connection, in bytes.
pub(crate) fn limit_length(handle: &mut LockedSqliteHandle<'_>, bytes: c_int) {
    // SAFETY: the handle is open and locked for as long as the borrow lasts.
    unsafe { ffi::sqlite3_limit(handle.as_raw_handle().as_ptr(), ffi::SQLITE_LIMIT_LENGTH, bytes) };
}

/// Asks the allow list for whatever this connection prepares from now on.
pub(crate) fn set_authorizer(handle: &mut LockedSqliteHandle<'_>, watch: &Arc<Watch>) -> bool {
    let context = Arc::as_ptr(watch).cast::<c_void>().cast_mut();
    // SAFETY: the connection's progress handler holds a clone of the same `Arc`, is never replaced, and is
    // freed only when the connection is closed, after its statements: nothing is prepared after that.
    let code =
        unsafe { ffi::sqlite3_set_authorizer(handle.as_raw_handle().as_ptr(), Some(authorize), context) };
    code == ffi::SQLITE_OK
}

/// Called by SQLite, on the connection's thread, for each thing that a statement would do.
unsafe extern "C" fn authorize(
    context: *mut c_void,
    action: c_int,
    first: *const c_char,
    second: *const c_char,
    database: *const c_char,
    _trigger: *const c_char,
) -> c_int {
    // SAFETY: the context is the watch that `set_authorizer` gave, which lives as long as the connection.
    let watch = unsafe { &*context.cast::<Watch>() };
    let names = (name(&first), name(&second), name(&database));
    let (Some(first), Some(second), Some(database)) = names else { return ffi::SQLITE_DENY };
    let asked = Asked { action, first, second, database };
    if allows(watch.mode(), asked) { ffi::SQLITE_OK } else { ffi::SQLITE_DENY }
}

/// A name that SQLite gave; none is empty, and one that is not UTF-8 is refused.
fn name(pointer: &*const c_char) -> Option<&str> {
    if pointer.is_null() {
        return Some("");
    }
    // SAFETY: SQLite gives null or a text that ends with a NUL and lives through the call.
    unsafe { CStr::from_ptr(*pointer) }.to_str().ok()
}
