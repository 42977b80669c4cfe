"""A handler for the workers of docker-compose.yml: WORKER_IMPORTS=hello docker compose up --detach worker"""

from taskflow import Context, Struct, task


class Greeting(Struct):
    """Whom to greet."""

    name: str


@task("hello", timeout_seconds=10)
def hello(payload: Greeting, context: Context) -> dict[str, str]:
    """Greets."""
    context.log(f"attempt {context.attempt}")
    return {"greeting": f"Hello, {payload.name}"}
