/* The session protocol asynctls/1 and an attacker, for the model checker spin.
 *
 * docs/model.md says what is modelled, what is not, and how to run it.
 *
 * Four TLS connections, and the honest ends of each:
 *
 *   0  client A ---- server B      a session
 *   1  client A ---- server B      AGAIN: another one of the same two, after it
 *   2  client A ---- relay         RELAY: the relay has a certificate that A takes for B's
 *   3  relay ------- server B      and one that B takes for A's
 *
 * The attacker is in nobody's process. He holds every frame that was ever sent, and whoever
 * receives may be given any of them: out of order, again, from another connection, his own back
 * (so dropping, replaying, reordering and reflecting are all there), or the end of the connection
 * at any moment. Without keys he makes none. TLS is not trusted to keep frames apart: what it does
 * for this model is to keep the secret of 0 and 1 secret, and to have KEY written on them by A only.
 *
 * A defence is taken away by a macro; the checker then finds the attack that it had stopped:
 *   NO_MAC, NO_BINDING, NO_DIRECTION, NO_SEQUENCE, NO_CLOSE, EARLY_RECEIPT.
 * SPEAKING (with RELAY) gives the relay the session protocol and the secret of the leg that it ends, which is
 * what the protocol does not claim to withstand. HONEST asks whether a whole honest session can
 * happen at all: a model in which nothing happens has no errors either.
 */

#define CONNECTIONS 4
#define ENDS        8           /* an end is 2 * connection + side */
#define CLIENT      0
#define SERVER      1
#ifndef MESSAGES
#define MESSAGES    2           /* that each end wants to send, each with a receipt */
#endif
#define FRAMES      (2 + 2 * MESSAGES)  /* its opening frame, messages, receipts, CLOSE */
#define NOBODY      255

#define side(e)       ((e) & 1)
#define connection(e) ((e) >> 1)
#define peer(e)       ((e) ^ 1)

mtype = { KEY, READY, DATA, RECEIPT, CLOSE };
mtype = { START, WAITING, OPEN, FAILED };           /* FAILED: an error was named, nothing more taken */
mtype = { GOING_ON, CLEAN, TRUNCATED };

/* What an end has sent, for everybody to keep; of a RECEIPT and a DATA also which message. */
typedef Sent { mtype frame[FRAMES]; byte message[FRAMES]; byte n };

typedef End {
    mtype phase;
    mtype end;          /* how the other direction ended, as this end sees it */
    byte secret;        /* by the connection whose client made it */
    byte due;           /* the sequence that comes next */
    byte said;          /* messages sent */
    byte taken;         /* messages taken by the application */
    byte owed;          /* receipts sent */
    byte told;          /* own messages whose receipt came */
    bool closed;        /* CLOSE was sent */
};

Sent sent[ENDS];
End at[ENDS];

/* The tag of frame i of the end `from`, as the end e checks it: the key hangs on the secret, the
 * binding (both certificates and the connection) and the direction. */
#ifdef NO_BINDING
#define same_binding(from, e) true
#else
#define same_binding(from, e) (connection(from) == connection(e))
#endif
#ifdef NO_DIRECTION
#define same_direction(from, e) true
#else
#define same_direction(from, e) (side(from) != side(e))
#endif
#ifdef NO_MAC
#define tag_is_right(from, e) true
#else
#define tag_is_right(from, e) \
    (at[from].secret == at[e].secret && same_binding(from, e) && same_direction(from, e))
#endif
#ifdef NO_SEQUENCE
#define in_sequence(i, e) true
#else
#define in_sequence(i, e) ((i) == at[e].due)
#endif

#define whole(e) (at[e].end == CLEAN && at[e].closed && at[e].told == MESSAGES)

inline put(e, f, m) {
    sent[e].frame[sent[e].n] = f;
    sent[e].message[sent[e].n] = m;
    sent[e].n++;
    printf("end %d sends %e %d\n", e, f, m)
}

/* An honest end after its session is open. */
inline go_on(e) {
    do
    :: atomic { at[e].phase == OPEN && at[e].said < MESSAGES && !at[e].closed ->
        at[e].said++;
        put(e, DATA, at[e].said)
       }
    :: atomic { at[e].phase == OPEN && at[e].owed < at[e].taken ->
        at[e].owed++;
        put(e, RECEIPT, at[e].owed)
       }
#ifdef EARLY_RECEIPT
    :: atomic { at[e].phase == OPEN && at[e].end == GOING_ON && at[e].owed < MESSAGES ->
        at[e].owed++;
        put(e, RECEIPT, at[e].owed)
       }
#endif
    :: atomic { at[e].phase == OPEN && at[e].said == MESSAGES && !at[e].closed ->
        at[e].closed = true;
        put(e, CLOSE, 0)
       }
    :: atomic { at[e].phase == OPEN && at[e].end != TRUNCATED && at[e].due < FRAMES ->
        choose(e);
        if
        :: from == NOBODY                                  /* something that fails a check */
            -> at[e].phase = FAILED
        :: else -> take(e)
        fi;
        from = NOBODY; i = 0
       }
    :: atomic { at[e].phase == OPEN && at[e].end == GOING_ON ->
        lose(e)
       }
    :: at[e].phase == FAILED -> break
    :: at[e].end == TRUNCATED -> break
    :: at[e].end == CLEAN && at[e].closed && at[e].told == MESSAGES && at[e].owed == at[e].taken
        -> break
    od
}

/* A frame out of all that the attacker holds which passes the checks, or none. */
inline choose(e) {
    from = NOBODY;
    candidate = 0;
    do
    :: candidate < ENDS ->
        i = 0;
        do
        :: from == NOBODY && i < sent[candidate].n ->
            if
            :: tag_is_right(candidate, e) && in_sequence(i, e) -> from = candidate; break
            :: true -> i++
            fi
        :: else -> break
        od;
        if
        :: from == NOBODY -> candidate++
        :: else -> break
        fi
    :: else -> break
    od;
    candidate = 0
}

inline take(e) {
    at[e].due++;
    printf("end %d takes %e %d of end %d\n", e, sent[from].frame[i], sent[from].message[i], from);
    if
    :: sent[from].frame[i] == DATA && at[e].end == GOING_ON ->
        at[e].taken++;
        /* No replay, no gap, no other order, nobody else's: the n-th that is taken is the n-th
         * that the peer sent in this very session. */
        assert(from == peer(e) && sent[from].message[i] == at[e].taken)
    :: sent[from].frame[i] == RECEIPT && at[e].told < at[e].said ->
        at[e].told++;
        /* Delivered means delivered. */
        assert(at[peer(e)].taken >= at[e].told)
    :: sent[from].frame[i] == CLOSE && at[e].end == GOING_ON ->
        ended_cleanly(e)
    :: else -> at[e].phase = FAILED                         /* may not stand there: malformed */
    fi
}

inline ended_cleanly(e) {
    at[e].end = CLEAN;
    printf("end %d sees a clean end\n", e);
    /* No truncation is taken for a clean end. */
    assert(at[peer(e)].closed && at[e].taken == at[peer(e)].said)
}

/* The connection's end without CLOSE. */
inline lose(e) {
#ifdef NO_CLOSE
    ended_cleanly(e)
#else
    at[e].end = TRUNCATED
#endif
}

proctype Client(byte e) {
    byte from = NOBODY, i, candidate;
    atomic {
        at[e].secret = connection(e);
        at[e].phase = WAITING;
        put(e, KEY, 0)
    }
    atomic {
        choose(e);
        if
        :: from != NOBODY && sent[from].frame[i] == READY ->
            at[e].due++;
            at[e].phase = OPEN;
            printf("end %d takes READY of end %d\n", e, from);
            /* The server is the one in the certificate that this end saw, it is in this session,
             * and it has this secret. */
            assert(at[peer(e)].phase != START && at[peer(e)].secret == at[e].secret)
        :: else -> at[e].phase = FAILED
        fi;
        from = NOBODY; i = 0
    }
    go_on(e)
}

proctype Server(byte e) {
    byte from = NOBODY, i, candidate;
    atomic {
        /* KEY is under the key that its own secret gives, so any client's may be tried. */
        do
        :: candidate < ENDS ->
            if
            :: side(candidate) == CLIENT && sent[candidate].n > 0 &&
               same_binding(candidate, e) -> from = candidate; break
#ifdef NO_MAC
            :: side(candidate) == CLIENT && sent[candidate].n > 0 -> from = candidate; break
#endif
#ifdef SPEAKING
            /* What A told the relay on 2 it tells B on 3, under a tag of its own making. */
            :: connection(e) == 3 && candidate == 2 * 2 + CLIENT && sent[candidate].n > 0 ->
                from = candidate; break
#endif
            :: true -> candidate++
            fi
        :: else -> break
        od;
        candidate = 0;
        if
        :: from == NOBODY -> at[e].phase = FAILED
        :: else ->
            at[e].secret = at[from].secret;
            at[e].due = 1;
            at[e].phase = OPEN;
            printf("end %d takes KEY of end %d\n", e, from);
            /* The client is the one in the certificate that this end saw, and made this secret. */
            assert(from == peer(e));
            put(e, READY, 0)
        fi;
        from = NOBODY
    }
    go_on(e)
}

init {
    byte each;
    atomic {
        do
        :: each < ENDS ->
            at[each].phase = START;
            at[each].end = GOING_ON;
            at[each].secret = NOBODY;
            each++
        :: else -> break
        od;
        run Client(0); run Server(1);
#ifdef RELAY
        run Client(4); run Server(7)
#endif
    }
#ifdef AGAIN
    /* After a whole one: he who has all of a recording has each part of it. */
    atomic { whole(0) && whole(1) -> run Client(2); run Server(3) }
#endif
#ifdef HONEST
    /* This must be found to fail. */
    whole(0) && whole(1);
    assert(false)
#endif
}
