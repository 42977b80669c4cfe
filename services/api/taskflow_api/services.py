"""What the routes call, as one value: built by `wiring.open_services`, handed to `app.create_app`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from taskflow.engine.accounts import Accounts
    from taskflow.engine.api_keys import ApiKeys
    from taskflow.engine.checkup import Checkup
    from taskflow.engine.commands import Commands
    from taskflow.engine.credentials import Credentials
    from taskflow.engine.deliveries import Deliveries
    from taskflow.engine.endpoints import Endpoints
    from taskflow.engine.explain import Explainer
    from taskflow.engine.feed import Feed
    from taskflow.engine.health import Health
    from taskflow.engine.operations import Operations
    from taskflow.engine.read import Reader
    from taskflow.engine.series import SeriesReader
    from taskflow.engine.sign_in import SignIn
    from taskflow.engine.signing import SigningSecrets
    from taskflow.engine.submit import Submitter
    from taskflow.engine.users import Users
    from taskflow.engine.waiting import Waiters
    from taskflow_api.admission import Admission


class Services(Struct, frozen=True):
    """The engine's verbs an api needs. Without SECRET_KEY nobody registers or signs in with a password."""

    submitter: Submitter
    reader: Reader
    explainer: Explainer
    series: SeriesReader
    waiters: Waiters
    feed: Feed
    commands: Commands
    operations: Operations
    health: Health
    checkup: Checkup
    credentials: Credentials
    admission: Admission
    users: Users
    api_keys: ApiKeys
    accounts: Accounts | None
    sign_in: SignIn | None
    endpoints: Endpoints
    deliveries: Deliveries
    signing_secrets: SigningSecrets | None
