"""A source of tokens that a test steers."""

from webhook.tokens import NoToken


class Tokens:
    """The tokens secret-1, secret-2 … of a source with another one at each renewal, until `last`.

    `rejected` are those that renewals were asked for. `problem` is raised where it is set; `ways`
    are the methods that were called.
    """

    def __init__(self, last: int = 1000) -> None:
        self.number = 1
        self.last = last
        self.rejected: list[str] = []
        self.ways: list[str] = []
        self.problem: NoToken | None = None
        self.renewal_problem: NoToken | None = None

    def get(self) -> str:
        self.ways.append("get")
        return self._token()

    async def aget(self) -> str:
        self.ways.append("aget")
        return self._token()

    def renew(self, rejected: str) -> str:
        self.ways.append("renew")
        return self._renewed(rejected)

    async def arenew(self, rejected: str) -> str:
        self.ways.append("arenew")
        return self._renewed(rejected)

    def _token(self) -> str:
        if self.problem is not None:
            raise self.problem
        return f"secret-{self.number}"

    def _renewed(self, rejected: str) -> str:
        self.rejected.append(rejected)
        if self.renewal_problem is not None:
            raise self.renewal_problem
        if rejected == f"secret-{self.number}" and self.number < self.last:
            self.number += 1
        return f"secret-{self.number}"
