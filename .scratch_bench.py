import asyncio, time, sys, tempfile, pathlib, random
import msgspec
from tidegate.core.ports import Closed, AttemptRow
from tidegate.storage.sqlite import SqliteStore
from tidegate.storage.ledger import SpoolLedger
from tidegate.storage.vault import PlainVault
from tidegate.storage.vault.envelope import EnvelopeVault
from tidegate.storage.vault.kek import Keks
from tidegate.storage.vault.keyring import SqliteKeyring
def row(n, users):
    return Closed(id=f"req_{n:011x}{random.getrandbits(80):020x}", at_ms=1_790_000_000_000+n, key_id="abcdefghijkl", dialect="openai", operation="chat", outcome="ok", status=200, duration_us=1000, overhead_us=10, route="fast", model="fast", target="main/gpt", organisation_id="default", team_id="search", stream=True, first_us=500, user=f"user-{n%users}" if users else None, session=f"s{n}" if users else None,
     attempts=(AttemptRow("main","gpt","ok",3,9,5,200,usage={"input":30,"output":200},price={"rates":{"input":7,"output":9},"source":"list"},cost_nusd=2100),), usage={"input":30,"output":200}, cost_nusd=2100)
async def run(name, sealed, audited, users, N=20000):
    with tempfile.TemporaryDirectory(dir='/work/wt/vault/.scratch') as d:
        d=pathlib.Path(d)
        kr = SqliteKeyring(d/'keys') if sealed else None
        vault = EnvelopeVault(kr, Keks([bytes(32)])) if sealed else PlainVault()
        home = await SqliteStore.open(d/'t.sqlite')
        led = await SpoolLedger.open(d, home.books, vault, lambda n,f: print(n,f), audited=audited)
        rows=[row(n,users) for n in range(N)]
        c0=time.process_time(); t0=time.perf_counter()
        app=0.0
        for i in range(0,N,500):
            a=time.thread_time()
            for r in rows[i:i+500]: led.append(r)
            app+=time.thread_time()-a
            await asyncio.sleep(0)
        await led.flush()
        t=time.perf_counter()-t0; c=time.process_time()-c0
        size=sum(f.stat().st_size for f in d.glob('t.sqlite*'))
        print(f"{name:40} {N/t:8.0f} rows/s  cpu {c/N*1e6:6.1f} us/row  append {app/N*1e6:5.1f} us  {size/N:6.0f} B/row")
        await led.aclose(); await home.aclose()
        if kr: kr.close()
async def main():
    for name,s,a,u in [("plain",0,0,50),("audit",0,1,50),("vault, 50 users",1,0,50),("vault, no users",1,0,0),("vault+audit, 50 users",1,1,50),("plain",0,0,50),("vault+audit, 50 users",1,1,50)]:
        await run(name,s,a,u)
    await run("vault+audit, every row a new user",1,1,10**9,2000)
asyncio.run(main())
