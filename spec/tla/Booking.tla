------------------------------- MODULE Booking -------------------------------
(* The abstract life of attempts, as in lastseat.spec.life, for a second       *)
(* opinion: TLC has to reach as many distinct states as the search in Python.  *)
(* Each action below has the name of the move there.                           *)
EXTENDS Naturals, Sequences, FiniteSets

CONSTANTS
    Capacities,  \* <<2, 1>>: of each resource
    Requests,    \* <<[resource |-> 1, units |-> 1, callers |-> 1], ...>>: one per booking id
    Faults, Crashes, Repeats,
    Broken       \* "nothing", "no arbiter" or "doubt denied"

VARIABLES ledgers, claims, faults, crashes, repeats
vars == <<ledgers, claims, faults, crashes, repeats>>
budgets == <<faults, crashes, repeats>>

Claims == DOMAIN Requests

Attempt(stage, commit, verdict, seen) ==
    [stage |-> stage, commit |-> commit, verdict |-> verdict, seen |-> seen]
Begun == Attempt("running", "unsent", "none", "nothing")
Answered(verdict, commit) == Attempt("answered", commit, verdict, "nothing")
BrokenOff(commit) == Attempt("broken", commit, "none", "nothing")
Gone(commit) == Attempt("gone", commit, "none", "nothing")

Init ==
    /\ ledgers = [r \in DOMAIN Capacities |-> [booked |-> 0, active |-> 0]]
    /\ claims = [c \in Claims |->
                    [uninvoked |-> Requests[c].callers, rows |-> 0, told |-> {}, live |-> <<>>]]
    /\ faults = Faults /\ crashes = Crashes /\ repeats = Repeats

-------------------------------------------------------------------------------
(* What a move says about: the attempt in slot i of claim c, and its resource. *)

At(c, i) == claims[c].live[i]
Slots(c) == DOMAIN claims[c].live
R(c) == Requests[c].resource

(* What the sequential step says of the request, were it executed now. *)
Verdict(c) ==
    IF claims[c].rows > 0 THEN "BOOKED"
    ELSE IF ledgers[R(c)].booked + Requests[c].units > Capacities[R(c)] THEN "REJECTED"
    ELSE "fits"

Remove(live, i) == SubSeq(live, 1, i - 1) \o SubSeq(live, i + 1, Len(live))

Then(c, i, attempt) == claims' = [claims EXCEPT ![c].live[i] = attempt]
Fault == faults > 0 /\ faults' = faults - 1 /\ UNCHANGED <<ledgers, crashes, repeats>>
Land(c, i, attempt) ==
    /\ claims' = [claims EXCEPT ![c].live[i] = attempt, ![c].rows = @ + 1]
    /\ ledgers' = [ledgers EXCEPT ![R(c)].booked = @ + Requests[c].units]
    /\ UNCHANGED budgets

-------------------------------------------------------------------------------
(* The caller. *)

Begin(c, waiting) ==
    /\ claims' = [claims EXCEPT ![c].uninvoked = waiting, ![c].live = Append(@, Begun)]
    /\ ledgers' = [ledgers EXCEPT ![R(c)].active = @ + 1]

Invoke(c) ==
    /\ claims[c].uninvoked > 0
    /\ Begin(c, claims[c].uninvoked - 1)
    /\ UNCHANGED budgets

Repeat(c) ==
    /\ claims[c].uninvoked = 0 /\ repeats > 0
    /\ \A i \in Slots(c) : At(c, i).stage = "gone"
    /\ claims[c].told \cap {"BOOKED", "REJECTED"} = {}
    /\ Begin(c, 0)
    /\ repeats' = repeats - 1 /\ UNCHANGED <<faults, crashes>>

-------------------------------------------------------------------------------
(* The attempt: observe and propose, persist, emit. *)

Observe(c, i) ==
    /\ At(c, i).stage = "running"
    /\ Then(c, i, IF Verdict(c) = "fits" THEN Attempt("observed", "unsent", "none", "room")
                  ELSE Answered(Verdict(c), "unsent"))
    /\ UNCHANGED <<ledgers, budgets>>

Persist(c, i) ==
    /\ \/ At(c, i).stage = "observed"
       \/ At(c, i).stage = "running" /\ Verdict(c) # "fits"
    /\ Then(c, i, [At(c, i) EXCEPT !.stage = "persisting", !.commit = "in flight"])
    /\ UNCHANGED <<ledgers, budgets>>

Arbitrate(c, i) ==
    /\ At(c, i).stage = "persisting"
    /\ IF Verdict(c) = "fits" \/ Broken = "no arbiter"
       THEN Land(c, i, Answered("BOOKED", "landed"))
       ELSE Then(c, i, Answered(Verdict(c), "never")) /\ UNCHANGED <<ledgers, budgets>>

Collide(c, i) ==
    /\ At(c, i).stage = "persisting"
    /\ ledgers[R(c)].active > 1
    /\ Then(c, i, Answered("CONFLICT", "never"))
    /\ UNCHANGED <<ledgers, budgets>>

Answer(attempt) ==
    IF attempt.verdict # "none" THEN attempt.verdict
    ELSE IF attempt.commit = "unsent" \/ Broken = "doubt denied" THEN "INFRASTRUCTURE"
    ELSE "IN DOUBT"

Emit(c, i) ==
    LET answer == Answer(At(c, i))
        told == claims[c].told \cup ({answer} \cap {"BOOKED", "REJECTED", "IN DOUBT"})
        inFlight == At(c, i).commit = "in flight"
    IN  /\ At(c, i).stage \in {"answered", "broken"}
        /\ IF answer \in {"CONFLICT", "INFRASTRUCTURE", "IN DOUBT"}
           THEN /\ claims' = [claims EXCEPT
                      ![c].live[i] = Gone(IF inFlight THEN "in flight" ELSE "never"),
                      ![c].told = told]
                /\ UNCHANGED ledgers
           ELSE /\ claims' = [claims EXCEPT ![c].live = Remove(@, i), ![c].told = told]
                /\ ledgers' = [ledgers EXCEPT ![R(c)].active = @ - 1]
        /\ UNCHANGED budgets

-------------------------------------------------------------------------------
(* The environment. *)

LandLate(c, i) ==
    LET stage == At(c, i).stage
    IN  /\ stage \in {"broken", "gone"} /\ At(c, i).commit = "in flight"
        /\ Verdict(c) = "fits"
        /\ Land(c, i, IF stage = "gone" THEN Gone("never") ELSE BrokenOff("landed"))

Fence(c, i) ==
    /\ At(c, i).stage = "gone"
    /\ claims' = [claims EXCEPT ![c].live = Remove(@, i)]
    /\ ledgers' = [ledgers EXCEPT ![R(c)].active = @ - 1]
    /\ UNCHANGED budgets

LoseRequest(c, i) ==
    /\ Fault
    /\ \/ At(c, i).stage \in {"running", "observed"} /\ Then(c, i, BrokenOff("unsent"))
       \/ At(c, i).stage = "persisting" /\ Then(c, i, BrokenOff("never"))

TimeOut(c, i) ==
    Fault /\ At(c, i).stage = "persisting" /\ Then(c, i, BrokenOff("in flight"))

Report(c, i) ==
    Fault /\ At(c, i).stage = "persisting" /\ Then(c, i, Answered("CONFLICT", "never"))

LoseAnswer(c, i) ==
    Fault /\ At(c, i).stage = "answered" /\ Then(c, i, BrokenOff(At(c, i).commit))

Struck(attempt) ==
    LET commit == IF attempt.commit = "in flight" THEN "never" ELSE attempt.commit
    IN  IF attempt.stage = "gone" THEN Gone(commit) ELSE BrokenOff(commit)

Crash ==
    /\ crashes > 0 /\ crashes' = crashes - 1
    /\ \E r \in DOMAIN ledgers : ledgers[r].active > 0
    /\ claims' = [c \in Claims |->
                    [claims[c] EXCEPT !.live = [i \in Slots(c) |-> Struck(At(c, i))]]]
    /\ UNCHANGED <<ledgers, faults, repeats>>

-------------------------------------------------------------------------------

Next ==
    \/ \E c \in Claims :
        \/ Invoke(c) \/ Repeat(c)
        \/ \E i \in Slots(c) :
            \/ Observe(c, i) \/ Persist(c, i) \/ Arbitrate(c, i) \/ Collide(c, i) \/ Emit(c, i)
            \/ LandLate(c, i) \/ Fence(c, i)
            \/ LoseRequest(c, i) \/ TimeOut(c, i) \/ Report(c, i) \/ LoseAnswer(c, i)
    \/ Crash

Spec == Init /\ [][Next]_vars

-------------------------------------------------------------------------------
(* What must always hold. *)

RECURSIVE Sum(_, _)
Sum(r, n) ==
    IF n = 0 THEN 0
    ELSE Sum(r, n - 1) + IF R(n) = r THEN claims[n].rows * Requests[n].units ELSE 0

Capacity == \A r \in DOMAIN ledgers : ledgers[r].booked <= Capacities[r]
Counter == \A r \in DOMAIN ledgers : ledgers[r].booked = Sum(r, Len(Requests))
OneBooking == \A c \in Claims : claims[c].rows <= 1
OneAnswer == \A c \in Claims : ~({"BOOKED", "REJECTED"} \subseteq claims[c].told)
Revelation ==
    \A c \in Claims : /\ "BOOKED" \in claims[c].told => claims[c].rows = 1
                      /\ "REJECTED" \in claims[c].told => claims[c].rows = 0
(* Only an answer in doubt leaves a commit behind that can still land. *)
NoSilentEffect ==
    \A c \in Claims : \A i \in Slots(c) :
        At(c, i).stage = "gone" /\ At(c, i).commit = "in flight" => "IN DOUBT" \in claims[c].told
NobodyHangs ==
    ENABLED Next \/ \A c \in Claims : claims[c].uninvoked = 0 /\ claims[c].live = <<>>
NeverLost == [][\A c \in Claims : claims'[c].rows >= claims[c].rows]_vars
===============================================================================
