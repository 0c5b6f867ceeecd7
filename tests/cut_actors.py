"""Who is talked to while links break."""

from actors.actor import Actor


class Sink(Actor):
    """Notes all that it is told and asked, in order."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.told: list[int] = []

    async def ask(self, number: int) -> int:
        self.asked.append(number)
        return number

    async def tell(self, number: int) -> None:
        self.told.append(number)

    async def seen(self) -> tuple[list[int], list[int]]:
        return self.asked, self.told
