"""Accounts as they are read and changed: renamed, given other rights, deleted. One admin at least is always left."""

from __future__ import annotations

from taskflow.domain.account import By, Role, User
from taskflow.domain.errors import Forbidden, NameTaken, NotFound
from taskflow.domain.task import LOCAL_OWNER
from taskflow.engine.accounts import refuse_taken
from taskflow.engine.credentials import Credentials
from taskflow.store import audit_log, sessions, users
from taskflow.store.connect import Conn, Database
from taskflow.store.errors import Unstorable


class Users:
    """All accounts."""

    def __init__(self, database: Database, credentials: Credentials) -> None:
        self._database = database
        self._credentials = credentials

    async def user(self, user_id: str) -> User:
        """One account."""
        async with self._database.connection() as conn:
            return _found(await users.read_user(conn, user_id))

    async def users(self, limit: int, before: str | None, role: Role | None, name: str | None) -> list[User]:
        """Newest first, older than `before`."""
        async with self._database.connection() as conn:
            return await users.list_users(conn, limit=limit, before=before, role=role, name=name)

    async def rename(self, user_id: str, username: str | None, email: str | None, by: By) -> User:
        """Give an account another username or e-mail address; None: as it is."""
        _spare_local(user_id)
        try:
            async with self._database.transaction() as conn:
                await refuse_taken(conn, username, email, but=user_id)
                user = _found(await users.set_names(conn, user_id, username, email))
                told = {"username": username, "email": email}
                await audit_log.write_audit(
                    conn, by, "user.renamed", user_id, {name: said for name, said in told.items() if said}
                )
        except Unstorable as error:  # somebody else was quicker
            raise NameTaken() from error
        self._forget(user_id)
        return user

    async def set_rights(self, user_id: str, role: Role | None, disabled: bool | None, by: By) -> User:
        """Give an account another role, disable or enable it; None: as it is."""
        _spare_local(user_id)
        async with self._database.transaction() as conn:
            admins = await users.lock_admins(conn)
            user = _found(await users.set_rights(conn, user_id, role, disabled))
            await _keep_an_admin(conn, admins)
            if disabled:
                await sessions.end_sessions(conn, user_id, "account disabled")
            told = {"role": role, "disabled": disabled}
            said = {name: value for name, value in told.items() if value is not None}
            await audit_log.write_audit(conn, by, "user.rights_changed", user_id, said)
        self._forget(user_id)
        return user

    async def delete(self, user_id: str, by: By) -> User:
        """Delete an account: nobody can use it any more. The janitor removes it later; its tasks stay."""
        _spare_local(user_id)
        async with self._database.transaction() as conn:
            admins = await users.lock_admins(conn)
            user = _found(await users.set_deleted(conn, user_id, deleted=True))
            await _keep_an_admin(conn, admins)
            await sessions.end_sessions(conn, user_id, "account deleted")
            await audit_log.write_audit(conn, by, "user.deleted", user_id)
        self._forget(user_id)
        return user

    async def restore(self, user_id: str, by: By) -> User:
        """Take a deletion back, while the janitor has not removed the account."""
        _spare_local(user_id)
        async with self._database.transaction() as conn:
            user = _found(await users.set_deleted(conn, user_id, deleted=False))
            await audit_log.write_audit(conn, by, "user.restored", user_id)
        return user

    def _forget(self, user_id: str) -> None:
        self._credentials.forget(lambda caller: caller.user_id == user_id)


async def _keep_an_admin(conn: Conn, before: int) -> None:
    if before and not await users.lock_admins(conn):
        raise Forbidden("this is the last admin who can sign in; make another one first")


def _spare_local(user_id: str) -> None:
    if user_id == LOCAL_OWNER:
        raise Forbidden("the built-in account is not to be changed")


def _found(user: User | None) -> User:
    if user is None:
        raise NotFound("there is no such account")
    return user
