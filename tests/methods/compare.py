"""Sends cases to two sides and keeps book of what was equal."""

from collections import Counter

NO_ANSWER = ("DEADLINE_EXCEEDED", "no answer")
OK_CODES = ("OK", "200")


class Book:
    """What was compared: per column and method a number of cases, and the differences."""

    def __init__(self, known):
        self.known = known          # (call, column, case) -> mark; None: any
        self.compared = Counter()   # (call, column)
        self.marked = {}            # (call, column) -> marks of differences seen
        self.unseen = set(known)
        self.failures = []

    def count(self, call, column):
        self.compared[call, column] += 1

    def differ(self, call, column, name, mine, theirs):
        for key in ((call, column, name), (call, None, name), (None, column, name)):
            if key in self.known:
                self.unseen.discard(key)
                self.marked.setdefault((call, column), set()).add(self.known[key])
                return
        self.fail(call, column, name, f"quorate {short(mine)}\n   etcd    {short(theirs)}")

    def fail(self, call, column, name, text):
        self.failures.append(f"{call}, {column}, {name}:\n   {text}")


def short(value):
    text = str(value)
    return text if len(text) <= 900 else f"{text[:700]} ... {text[-180:]} ({len(text)})"


class Pair:
    """Quorate and etcd in the same state, asked the same."""

    def __init__(self, book, mine, theirs):
        self.book = book
        self.sides = (mine, theirs)
        self.before = self.states()

    def states(self):
        return [side.state() for side in self.sides]

    def run(self, case, column, ask):
        """`ask`: of a side, answers an Outcome."""
        book = self.book
        book.count(case.call, column)
        mine, theirs = (ask(side) for side in self.sides)
        for side, outcome in zip(self.sides, (mine, theirs)):
            if outcome.code in NO_ANSWER:
                book.fail(case.call, column, case.name, f"no answer of {side.name}")
        if mine.told() != theirs.told():
            book.differ(case.call, column, case.name, mine.told(), theirs.told())
        for side in self.sides if case.after else ():
            case.after(side)
        now = self.states()
        if now[0] != now[1] and self.before[0] == self.before[1]:
            book.differ(case.call, column, case.name, now[0], now[1])
        for side, outcome, was, now_of in zip(self.sides, (mine, theirs), self.before, now):
            if outcome.code not in OK_CODES and was != now_of and not case.after:
                book.fail(case.call, column, case.name,
                          f"refused by {side.name} with {outcome.code} {outcome.text}, but changed "
                          f"{was} to {now_of}")
        self.before = now
        return mine, theirs
