package krb5

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/gsstsig/coredns-gsstsig/internal/test/standard"
)

// foreignMIC is a MIC made by gokrb5.
func foreignMIC(k types.EncryptionKey, message []byte, usage uint32, flags byte, sequence uint64) []byte {
	m := gssapi.MICToken{Flags: flags, SndSeqNum: sequence, Payload: message}
	if err := m.SetChecksum(k, usage); err != nil {
		panic(err)
	}
	return must(m.Marshal())
}

func testSession(id Enctype, acceptor, subkey bool, own, peer uint32) *session {
	return newSession(must(newKey(id, testKey(id, "mic").KeyValue)), acceptor, subkey, own, peer)
}

func TestMICsAgreeWithGokrb5(t *testing.T) {
	standard.Requires(t, "RFC 4121", "2 key usages", "4.2.1 numbers", "4.2.2 reserved flags", "4.2.2 direction", "4.2.4 checksum", "4.2.6.1 MIC token")
	for _, id := range testTypes {
		k := testKey(id, "mic")
		for _, message := range [][]byte{{}, {0}, []byte("a message"), bytes.Repeat([]byte("long "), 1000)} {
			for _, subkey := range []bool{false, true} {
				var flags byte
				if subkey {
					flags = 4
				}
				acceptor := testSession(id, true, subkey, 1<<32-1, 7)
				initiator := testSession(id, false, subkey, 7, 1<<32-1)
				for n := range uint64(3) {
					// The acceptor's numbers pass 32 bits: they are 64 wide.
					fromAcceptor := foreignMIC(k, message, 23, flags|1, 1<<32-1+n)
					fromInitiator := foreignMIC(k, message, 25, flags, 7+n)
					if got := must(acceptor.getMIC(message)); !bytes.Equal(got, fromAcceptor) {
						t.Fatalf("%s: acceptor's MIC %x, want %x", id, got, fromAcceptor)
					}
					if got := must(initiator.getMIC(message)); !bytes.Equal(got, fromInitiator) {
						t.Fatalf("%s: initiator's MIC %x, want %x", id, got, fromInitiator)
					}
					if err := acceptor.verifyMIC(message, fromInitiator); err != nil {
						t.Fatal(err)
					}
					if err := initiator.verifyMIC(message, fromAcceptor); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

func TestBadMICs(t *testing.T) {
	standard.Requires(t, "RFC 4121", "2 key usages", "4.2.2 unknown flags", "4.2.2 direction", "4.2.4 checksum", "4.2.6.1 MIC token")
	for _, id := range testTypes {
		k := testKey(id, "mic")
		message := []byte("a message")
		good := foreignMIC(k, message, 25, 4, 0)
		alter := func(i int, x byte) []byte {
			b := bytes.Clone(good)
			b[i] ^= x
			return b
		}
		s := testSession(id, true, true, 0, 0)
		for _, c := range []struct {
			name string
			mic  []byte
			want error
		}{
			{"nil", nil, ErrMalformed},
			{"empty", []byte{}, ErrMalformed},
			{"header alone", good[:16], ErrMalformed},
			{"cut", good[:len(good)-1], ErrMalformed},
			{"longer", append(bytes.Clone(good), 0), ErrMalformed},
			{"token identifier", alter(0, 1), ErrMalformed},
			{"token identifier of a wrap token", alter(0, 1), ErrMalformed},
			{"filler", alter(3, 1), ErrMalformed},
			{"last filler", alter(7, 1), ErrMalformed},
			{"from the acceptor", foreignMIC(k, message, 25, 5, 0), ErrIntegrity},
			{"our own, reflected", must(s.getMIC(message)), ErrIntegrity},
			{"without acceptor's subkey", foreignMIC(k, message, 25, 0, 0), ErrIntegrity},
			{"sealed", foreignMIC(k, message, 25, 6, 0), ErrIntegrity},
			{"wrong usage", foreignMIC(k, message, 23, 4, 0), ErrIntegrity},
			{"wrong key", foreignMIC(testKey(id, "other"), message, 25, 4, 0), ErrIntegrity},
			{"other message", foreignMIC(k, []byte("another"), 25, 4, 0), ErrIntegrity},
			{"other sequence number", alter(15, 1), ErrIntegrity},
			{"checksum", alter(len(good)-1, 0x80), ErrIntegrity},
		} {
			if err := s.verifyMIC(message, c.mic); !errors.Is(err, c.want) {
				t.Errorf("%s: %s: %v, want %v", id, c.name, err, c.want)
			}
		}
		// Flags that are not defined yet are ignored.
		if err := s.verifyMIC(message, foreignMIC(k, message, 25, 0x84, 5)); err != nil {
			t.Errorf("unknown flag: %v", err)
		}
		if err := s.verifyMIC(message, good); err != nil {
			t.Errorf("the good one, after all that: %v", err)
		}
	}
}

// A forged MIC with a high sequence number must not push the window past the
// peer's real ones.
func TestWindowAdvancesOnlyForVerifiedMICs(t *testing.T) {
	s := testSession(18, true, false, 0, 100)
	k := testKey(18, "mic")
	forged := foreignMIC(testKey(18, "forger"), []byte("m"), 25, 0, 100+1<<40)
	if err := s.verifyMIC([]byte("m"), forged); !errors.Is(err, ErrIntegrity) {
		t.Fatal(err)
	}
	if err := s.verifyMIC([]byte("m"), foreignMIC(k, []byte("m"), 25, 0, 100)); err != nil {
		t.Error(err)
	}
}

func TestMICsConcurrently(t *testing.T) {
	acceptor := testSession(18, true, false, 0, 0)
	initiator := testSession(18, false, false, 0, 0)
	message := []byte("m")
	var wg sync.WaitGroup
	accepted := make(chan uint64, 4*200*2)
	for range 4 {
		wg.Go(func() {
			for range 200 {
				mic, err := initiator.getMIC(message)
				if err != nil {
					t.Error(err)
				}
				var both sync.WaitGroup
				for range 2 {
					both.Go(func() {
						if acceptor.verifyMIC(message, mic) == nil {
							accepted <- 1
						}
					})
				}
				both.Wait()
			}
		})
	}
	wg.Wait()
	if n := len(accepted); n != 800 {
		t.Errorf("%d MICs verified of 800, each sent twice", n)
	}
	// Wipe while others are at work.
	for range 4 {
		wg.Go(func() {
			for range 100 {
				if _, err := acceptor.getMIC(message); err != nil && !errors.Is(err, ErrNotEstablished) {
					t.Error(err)
				}
			}
		})
	}
	acceptor.wipe()
	wg.Wait()
}
