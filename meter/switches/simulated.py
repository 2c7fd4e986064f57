"""A switch that exists in this program only."""


class SimulatedSwitch:
    def __init__(self) -> None:
        self.is_on: bool | None = None

    async def set(self, is_on: bool) -> None:
        self.is_on = is_on

    async def state(self) -> bool | None:
        return self.is_on

    async def close(self) -> None:
        pass
