//! The two statements of the host's own that every run says, as functions: a session plans what a function says once,
//! while a statement in a message is planned each time it comes, which took longer than to carry it out. A prepared
//! statement would be planned once as well, but a function of the handler's could put its own in its place; these lie
//! in the host's schema, where guests may neither call nor change anything.

use crate::postgres::ownership::SAME_LIFE;

/// Makes them. `keylane.holds` answers whether the epoch is still one's own, and keeps takes out until the end by a
/// shared lock. A take that is on its way has said so, and no run begins before it: shared locks would overtake it.
/// `keylane.claim` writes claims: where the lowest lies below the floor they have no ending, which the table refuses.
pub(crate) fn functions() -> String {
    format!(
        "
CREATE FUNCTION keylane.holds(of_stream bigint, of_epoch bigint, of_nonce bigint) RETURNS boolean
LANGUAGE plpgsql AS $body$ BEGIN
    PERFORM FROM keylane.fence
        WHERE stream = of_stream AND epoch = of_epoch AND nonce = of_nonce AND {SAME_LIFE} AND NOT EXISTS
            (SELECT FROM keylane.wanted WHERE wanted.stream = of_stream AND wanted.epoch > of_epoch)
        FOR SHARE OF fence;
    RETURN FOUND;
END $body$;
CREATE FUNCTION keylane.claim(of_stream bigint, lowest bigint, offsets bigint[], endings smallint[]) RETURNS void
LANGUAGE plpgsql AS $body$ BEGIN
    INSERT INTO keylane.claim (stream, event_offset, ended_as)
        SELECT of_stream, asked.event_offset,
            CASE WHEN EXISTS (SELECT FROM keylane.floor WHERE floor.stream = of_stream AND floor.floor > lowest)
                THEN NULL ELSE asked.ended_as END
        FROM unnest(offsets, endings) AS asked (event_offset, ended_as);
END $body$;
REVOKE ALL ON FUNCTION keylane.holds, keylane.claim FROM PUBLIC;
"
    )
}
