"""Somebody who takes mail by SMTP on a real socket: with STARTTLS, with a login, or not at all."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from email import message_from_bytes
from email.message import Message
from email.policy import default


class PostOffice:
    def __init__(self) -> None:
        self.port = 0
        self.mails: list[Message] = []
        self.logins: list[str] = []
        self.encrypted: list[bool] = []  # of each mail
        self.answers: dict[str, list[str]] = {}  # in place of 250, by command; the last one for ever
        self.trust: ssl.SSLContext | None = None  # for STARTTLS

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            writer.write(b"220 here\r\n")
            while line := (await reader.readline()).decode().strip():
                verb = line.split(" ")[0].upper()
                if verb == "STARTTLS" and self.trust is not None:
                    writer.write(b"220 go on\r\n")
                    await writer.start_tls(self.trust)
                    continue
                writer.write(await self._answer(verb, line, reader, writer))
                if verb == "QUIT":
                    break
        writer.close()

    async def _answer(self, verb: str, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        encrypted = writer.get_extra_info("sslcontext") is not None
        if verb in self.answers:
            answers = self.answers[verb]
            return f"{answers.pop(0) if len(answers) > 1 else answers[0]}\r\n".encode()
        if verb == "EHLO":
            more = b"250-AUTH PLAIN\r\n" if encrypted else b"250-STARTTLS\r\n" if self.trust is not None else b""
            return b"250-here\r\n" + more + b"250 SIZE 100000\r\n"
        if verb == "AUTH":
            self.logins.append(base64.b64decode(line.split(" ")[2]).decode())
            return b"235 welcome\r\n"
        if verb == "DATA":
            writer.write(b"354 go on\r\n")
            self.mails.append(message_from_bytes(await reader.readuntil(b"\r\n.\r\n"), policy=default))
            self.encrypted.append(encrypted)
        return b"221 bye\r\n" if verb == "QUIT" else b"250 well\r\n"


@asynccontextmanager
async def post_office(implicit: ssl.SSLContext | None = None) -> AsyncIterator[PostOffice]:
    office = PostOffice()
    server = await asyncio.start_server(office.talk, "127.0.0.1", 0, ssl=implicit)
    office.port = server.sockets[0].getsockname()[1]
    try:
        yield office
    finally:
        server.close()
        await server.wait_closed()
