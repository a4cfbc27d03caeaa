"""What must AES-256-GCM and Ed25519 give? Some vectors of others, each with where it comes from.

WYCHEPROOF: project C2SP/wycheproof, testvectors_v1/aes_gcm_test.json and ed25519_test.json, by tcId (Apache-2.0).
GCM: D. McGrew, J. Viega, "The Galois/Counter Mode of Operation (GCM)", appendix B, as submitted to NIST, by test case.
"""

from __future__ import annotations

from typing import NamedTuple


class Sealed(NamedTuple):
    name: str
    key: str
    iv: str
    aad: str
    msg: str
    ct: str
    tag: str


FEFF = "feffe9928665731c6d6a8f9467308308" * 2
PLAIN = (
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657"
    "ba637b39"
)
WRAP = "00112233445566778899aabbccddeeff102132435465768798a9bacbdcedfe0f"
ZEROS = "00" * 40

AES_256_GCM = (
    Sealed("GCM 13", "00" * 32, "00" * 12, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
    Sealed(
        "GCM 14", "00" * 32, "00" * 12, "", "00" * 16, "cea7403d4d606b6e074ec5d3baf39d18",
        "d0d1c8a799996bf0265b98b5d48ab919",
    ),
    Sealed(
        "GCM 16", FEFF, "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2", PLAIN,
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0a"
        "bcc9f662",
        "76fc6ece0f4e1768cddf8853bb2d551b",
    ),
    Sealed(
        "wycheproof 240", WRAP, "5c2ea9b695fcf6e264b96074d6bfa572", "", ZEROS,
        "28e1c5232f4ee8161dbe4c036309e0b3254e9212bef0a93431ce5e5604c8f6a73c18a3183018b770",
        "d5808a1bd11a01129bf3c6919aff2339",
    ),
    Sealed(
        "wycheproof 242", WRAP, "ce20a7e870696a5e68533c465bad2ba1", "", ZEROS,
        "4f4350565d91d9aa8c5f4048550492ad6d6fdabf66da5d1e2af7bfe1a8aadaa0baa3de38a41d9713",
        "155da6441ec071ef2d8e6cffbacc1c7c",
    ),
    Sealed(
        "wycheproof 247", WRAP, "538816c3f849067cf8576cd62b90b99c", "", ZEROS,
        "6d3faefaf691d58163846f8d4b9ffd5916929b773051f12b0adac95f65e21a7f36b3fbecd09178d0",
        "84f49740e6757f63dd0df7cb7656d0ef",
    ),
    Sealed(
        "wycheproof 252", WRAP, "00" * 16, "", "8d74f1c97243d362577ff376c393d2dc", "265c42e2b96ea1de9c24f7182e337390",
        "00" * 16,
    ),
    Sealed(
        "wycheproof 253", WRAP, "ff" * 16, "", "884df0e76f3ce227bf9595d103825a46", "988f47668ea650cbaa6714711abe268d",
        "ff" * 16,
    ),
    Sealed(
        "wycheproof 254", "b4cd11db0b3e0b9b34eafd9fe027746976379155e76116afde1b96d21298e34f",
        "00c49f4ebb07393f07ebc3825f7b0830", "", "", "", "306fe8c9645cc849823e333a685b90b2",
    ),
    Sealed(
        "wycheproof 255", "b7797eb0c1a6089ad5452d81fdb14828c040ddc4589c32b565aad8cb4de3e4a0",
        "0ad570d8863918fe89124e09d125a271", "", "ed", "3f", "fd8f593b83314e33c5a72efbeb7095e8",
    ),
    Sealed(
        "wycheproof 257", "e7f7a48df99edd92b81f508618aa96526b279debd9ddb292d385ddbae80b2259",
        "7ee376910f08f497aa6c3aa7113697fd", "", "5e51dbbb861b5ec60751c0996e00527f", "469478d448f7e97d755541aa09ad95b0",
        "254ada5cf662d90c5e11b2bd9c4db4c4",
    ),
    Sealed(
        "wycheproof 258", "4f84782bfbb64a973c3de3dcfa3430367fd68bc0b4c3b31e5d7c8141ba3e6a67",
        "5d1bde6fa0994b33efd8f23f531248a7", "", "78cb6650a1908a842101ea85804fed00cc56fbdafafba0ef4d1ca607dcae57b6",
        "cb960201fa5ad41d41d1c2c8037c71d52b72e76b16b589d71b976627c9734c9d", "8dfce16467c3a6ebb3e7242c9a551962",
    ),
)  # fmt: skip


class Signed(NamedTuple):
    tc: int
    msg: str
    sig: str
    valid: bool


ED25519_KEY = "7d4d0e7f6153a69b6242b522abbee685fda4420f8834b108c3bdae369ef549fa"
ORDER = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010"
ED25519 = (
    Signed(
        1, "",
        "d4fbdb52bfa726b44d1786a8c0d171c3e62ca83c9e5bbe63de0bb2483f8fd6cc1429ab72cafc41ab56af02ff8fcc43b99bfe4c7ae940f60f"
        "38ebaa9d311c4007", True,
    ),
    Signed(
        2, "78",
        "d80737358ede548acb173ef7e0399f83392fe8125b2ce877de7975d8b726ef5b1e76632280ee38afad12125ea44b961bf92f1178c9fa819d"
        "020869975bcbe109", True,
    ),
    Signed(
        3, "54657374",
        "7c38e026f29e14aabd059a0f2db8b0cd783040609a8be684db12f82a27774ab07a9155711ecfaf7f99f277bad0c6ae7e39d4eef676573336"
        "a5c51eb6f946b30d", True,
    ),
    Signed(
        4, "48656c6c6f",
        "1c1ad976cbaae3b31dee07971cf92c928ce2091a85f5899f5e11ecec90fc9f8e93df18c5037ec9b29c07195ad284e63d548cd0a6fe358cc7"
        "75bd6c1608d2c905", True,
    ),
    Signed(
        5, "313233343030",
        "657c1492402ab5ce03e2c3a7f0384d051b9cf3570f1207fc78c1bcc98c281c2bf0cf5b3a289976458a1be6277a5055545253b45b07dcc1ab"
        "d96c8b989c00f301", True,
    ),
    Signed(10, "3f", "00" * 64, False),
    Signed(11, "3f", "00" * 32 + "01" + "00" * 31, False),
    Signed(13, "3f", "00" * 32 + ORDER, False),
    Signed(16, "3f", "01" + "00" * 63, False),
    Signed(18, "3f", "01" + "00" * 31 + ORDER, False),
    Signed(20, "3f", ORDER + "00" * 32, False),
    Signed(23, "3f", ORDER + ORDER, False),
    Signed(25, "3f", "ed" + "ff" * 30 + "7f" + "00" * 32, False),
    Signed(29, "3f", ("ed" + "ff" * 30 + "7f") * 2, False),
)  # fmt: skip
