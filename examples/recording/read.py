#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints how many events of each kind a recording of taskiso has, and how many were lost.
A gap of a loop that measures noise is counted as an event.

Usage: read.py FILE. It is written from docs/recording.md, and needs nothing but Python.
"""
import json
import re
import struct
import sys
import zlib

MAGIC = b"taskiso recording 2\n"
HEADER = struct.Struct("<4sIqqIII")  # type, length, from, until, events, checksum of the content, checksum of all that
TYPES = re.compile(rb"head|data|gap |end ")


def crc32c_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC = crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def chunks(data, pos):
    """Yields type, from, until, events and content of each chunk; content is None if it is damaged."""
    while len(header := data[pos:pos + HEADER.size]) == HEADER.size:
        kind, length, begin, until, events, content_sum, header_sum = HEADER.unpack(header)
        if not TYPES.match(kind) or crc32c(header[:-4]) != header_sum:
            yield b"", 0, 0, 0, None
            found = (m.start() for m in TYPES.finditer(data, pos + 1))
            pos = next((at for at in found if whole_header(data, at)), len(data))
            continue
        content = data[pos + HEADER.size:pos + HEADER.size + length]
        if len(content) < length:
            return  # still being written, or cut off
        pos += HEADER.size + length
        whole = crc32c(content) == content_sum
        yield kind, begin, until, events, zlib.decompress(content, -15) if whole and length else (b"" if whole else None)


def whole_header(data, pos):
    header = data[pos:pos + HEADER.size]
    return len(header) == HEADER.size and crc32c(header[:-4]) == HEADER.unpack(header)[-1]


class Records:
    """The records of one chunk."""

    def __init__(self, content, begin, kinds):
        self.data, self.pos, self.time, self.kinds = content, 0, begin, kinds
        self.last, self.tasks, self.stacks, self.senders, self.names = {}, [], [], [], {}
        self.events, self.lost, self.loop, self.held = [], 0, 0, []

    def byte(self):
        self.pos += 1
        return self.data[self.pos - 1]

    def uint(self):
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def int(self):
        value = self.uint()
        return value >> 1 ^ -(value & 1)

    def text(self):
        length = self.uint()
        self.pos += length
        return self.data[self.pos - length:self.pos].decode()

    def at(self):
        self.time += self.uint()
        return self.time

    def read(self):
        while self.pos < len(self.data):
            tag = self.byte()
            if tag >= 16:
                self.event(tag - 16)
            elif tag == 1:  # end of a batch
                self.at(), self.byte()
                self.lost += sum(self.pair()[1] for _ in range(self.uint()))
            elif tag == 2:
                self.uint()
            elif tag == 3:
                [self.uint() for _ in range(4)]
            elif tag == 4:
                self.tasks.append((self.uint(), self.uint(), self.text(), self.byte(), self.uint()))
            elif tag == 5:
                self.stacks.append(self.stack())
            elif tag == 6:
                self.senders.append((self.uint(), self.text(), self.uint(), self.stacks[self.uint()]))
            elif tag in (7, 8):
                number = self.uint()
                self.names[tag, number] = self.text()
            elif tag == 9:
                cpu, self.loop, length = self.uint(), self.loop + self.int(), self.uint()
                self.events.append((self.loop, "gap of the loop", cpu))
            elif tag == 10:
                self.held.append(json.loads(self.text()))
            else:
                raise ValueError(f"record of unknown kind {tag}")
        return self

    def pair(self):
        return self.uint(), self.uint()

    def stack(self):
        address, stack = 0, []
        for _ in range(self.uint()):
            address = (address + self.int()) & 0xFFFFFFFFFFFFFFFF
            stack.append(address)
        return stack

    def event(self, kind):
        mask, time = self.byte(), self.at()
        e = self.last.setdefault(kind, dict(flags=0, cpu=0, tid=0, ip=0, a=0, b=0, c=0, ref=0))
        if mask & 1:
            e["flags"] = self.byte()
        for bit, field in ((2, "cpu"), (4, "tid")):
            if mask & bit:
                e[field] = self.uint()
        for bit, field in ((8, "ip"), (16, "a"), (32, "b"), (64, "c")):
            if mask & bit:
                e[field] = (e[field] + self.int()) & 0xFFFFFFFFFFFFFFFF
        if mask & 128:
            e["ref"] = self.uint()
        if e["flags"] & 32:
            self.int()  # how often the task was switched away before
            self.tasks[e["ref"]]
        if e["flags"] & 64:
            self.senders[e["ref"]]
        self.events.append((time, self.kinds[kind], e["cpu"]))


def main(name):
    counts, held, lost, missing, ended, damaged, kinds = {}, 0, 0, 0, False, 0, []
    with open(name, "rb") as file:
        data = file.read()
    if not data.startswith(MAGIC):
        sys.exit(f"{name}: not a recording of this form")
    for kind, begin, until, events, content in chunks(data, len(MAGIC)):
        if content is None:
            damaged, missing = damaged + 1, missing + events
        elif kind == b"gap ":
            missing += events
        elif kind == b"head":
            kinds = json.loads(content)["kinds"]
        elif kind == b"end ":
            ended = True
        else:
            records = Records(content, begin, kinds).read()
            held, lost = held + len(records.held), lost + records.lost
            for _, event, cpu in records.events:
                counts[event, cpu] = counts.get((event, cpu), 0) + 1
    for (event, cpu), count in sorted(counts.items()):
        print(f"{event} cpu {cpu}: {count}")
    print(f"held {held}, lost {lost}, missing {missing}, damaged {damaged}, {'ended' if ended else 'without an end'}")


if __name__ == "__main__":
    main(sys.argv[1])
