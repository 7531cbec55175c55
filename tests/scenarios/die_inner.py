"""
Inner instances that are killed at L0's console while their guest stands in the middle of a switch: prepared, committed, prepared for the
way back, committed to emulation. Each one's port and memory are free afterwards, and the others go on.
"""
import cpio
import paths
import spine
from machine import Ended
from scenarios import die

MOMENTS = [("there", "prepare"), ("there", "commit"), ("back", "prepare"), ("back", "commit")]
INNERS = [(f"inner{i}", f"g{i}", f"10.0.0.{3 + i}", way, step) for i, (way, step) in enumerate(MOMENTS)]
INNER_MIB = 96


def bundle(_):
    witness = die.guest(die.WITNESS[0], 2)
    text = "[nestling]\non_last_exit = exit\n" + witness.section(0)
    files = dict(witness.files(), **{"nestling.elf": paths.built("nestling.elf", "Nestling").read_bytes()})
    for i, (inner, name, _, way, step) in enumerate(INNERS):
        guest = die.guest(name, 3 + i, f"die={step} way={way} how=spin")
        files[f"{inner}.cpio"] = cpio.archive(spine.bundle(1, guest))
        text += spine.section(inner, "nestling.elf", INNER_MIB, [0], "", [f"{inner}.cpio"], [f"port{1 + i} {guest.nic_words} mac={guest.mac}"])
    files["nestling.cfg"] = text.encode()
    return files


def check_balance(before, after, inner):
    """What others hold moves between their VM and what is free; nothing else may have changed."""
    assert after["own"] == before["own"] - 1, f"expected {before['own'] - 1} own pages, saw {after['own']}"
    assert after["iommu"] == before["iommu"], f"expected {before['iommu']}, saw {after['iommu']}"
    assert set(after["vm"]) == set(before["vm"]) - {inner}, f"expected all VMs but {inner}, saw {sorted(after['vm'])}"
    was, now = (b["free"] + b["own"] + sum(b["vm"].values()) for b in (before, after))
    assert now == was, f"expected {was} pages in all, saw {now}"


def kill(m, moment, others):
    inner, name, ip, _, step = moment
    before = die.report(m)["L0"]
    die.order(m, ip, "die", False)
    m.expect(rf"\[{inner}\] \[{name}\] guest: die: at {step}$", 60)
    m.send_line(f"kill {inner}")
    m.expect(rf"^\[L0\] vm {inner} ended with code {die.KILLED}: killed at the console", 60)
    check_balance(before, die.report(m)["L0"], inner)
    for other in [die.WITNESS[1]] + others:
        spine.ping(m, 1, other)


def check(m):
    for name in [die.WITNESS[0]] + [i[1] for i in INNERS]:
        m.position = 0
        m.expect(rf"\[{name}\] guest: die: ready", 300)
    for n, moment in enumerate(INNERS):
        try:
            kill(m, moment, [i[2] for i in INNERS[n + 1:]])
        except AssertionError as e:
            raise AssertionError(f"{moment[3]}, {moment[4]}: {e}") from None
    die.order(m, die.WITNESS[1], "steps")
    m.expect(r"guest: die: that were all steps$", 60)
    die.order(m, die.WITNESS[1], "stop")
    try:
        code = m.wait(60)
    except Ended as e:
        raise AssertionError(f"expected an exit code, saw: {e}") from None
    assert code == die.KILLED, f"expected exit code {die.KILLED}, saw {code}"
    last = die.of(m.reports.levels["L0"], "iommu")[-1]
    assert last["domains"] == last["devices"] == 1, f"expected only the PF's own domain and device to be left, saw {last}"
