"""Under which keys is what is stored, and is it time for another one?"""

# No postponed annotations here: FastAPI evaluates them.
from typing import Annotated

from pydantic import BaseModel, Field

from tidegate.api.admin.policy import Administering, House, tell
from tidegate.api.admin.shapes import paths

router = paths("/admin/vault", "vault")


class ShownKeys(BaseModel):
    seals: Annotated[bool, Field(description="Whether what is stored is encrypted.")]
    last: Annotated[str | None, Field(description="The key-encrypting key that new keys are sealed under.")]
    known: Annotated[list[str], Field(description="All that are configured.")]
    sealed_under: Annotated[dict[str, int], Field(description="How many keys are sealed under which.")]
    waiting: Annotated[int, Field(description="Keys that are still sealed under an older one: rotate.")]


class Rotated(BaseModel):
    sealed: Annotated[int, Field(description="Keys that were sealed anew.")]


@router.get("")
async def status(principal: Administering, house: House) -> ShownKeys:
    """Which keys there are, by fingerprint; never the keys."""
    keys = await house.archive.keys()
    return ShownKeys(
        seals=keys.seals, last=keys.last, known=list(keys.known), sealed_under=keys.sealed_under, waiting=keys.waiting
    )


@router.post("/rotate")
async def rotate(principal: Administering, house: House) -> Rotated:
    """Seal every key under the last key-encrypting key, while everything goes on."""
    sealed = await house.archive.rotate()
    tell(house, principal, "vault_rotated", (await house.archive.keys()).last or "-", after={"sealed": sealed})
    return Rotated(sealed=sealed)
