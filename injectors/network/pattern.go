package network

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// pattern says which of so many packets in a row a rule is for; then it begins anew. It is drawn beforehand, and the kernel does no more than
// count: same seed, same packets, at the price of a rule.
type pattern []bool

// lengthOf is the length of a pattern: one that hits few packets is long, so that there are enough of them, and one that hits many is short, so
// that the kernel has it at once.
func lengthOf(share float64) int {
	if share < 0.1 || share > 0.9 {
		return 16384
	}
	return 4096
}

// some draws a pattern for one direction; nil is for all packets.
type some func(way uint64) pattern

// share picks a share of the packets, so many in a row on average, by a seed.
func share(of, inRow float64, seed uint64) some {
	if of >= 1 {
		return nil
	}
	return func(way uint64) pattern { return draw(of, inRow, seed+way) }
}

// draw makes a pattern with exactly a share of all packets, so many in a row on average (1: each is drawn by itself).
func draw(share, inRow float64, seed uint64) pattern {
	rng := rand.New(rand.NewPCG(seed, 0x7061747465726e))
	period := lengthOf(share)
	out := make(pattern, period)
	hits := min(int(share*float64(period)+0.5), period)
	if inRow == 1 {
		for _, i := range rng.Perm(period)[:hits] {
			out[i] = true
		}
		return out
	}
	runs := max(1, min(int(float64(hits)/inRow+0.5), period-hits)) // between two of them there is something
	lengths, gaps := parts(rng, hits, runs), parts(rng, period-hits, runs)
	at := 0
	for i := range runs {
		at += gaps[i]
		for range lengths[i] {
			out[at] = true
			at++
		}
	}
	return out
}

// parts cuts a number into so many of at least 1, each way to do so as likely as any other: their lengths are then as good as geometric,
// as those of Gilbert's model are.
func parts(rng *rand.Rand, total, n int) []int {
	cuts := append(rng.Perm(total - 1)[:n-1], total-1)
	slices.Sort(cuts)
	last := -1
	for i, c := range cuts {
		cuts[i], last = c-last, c
	}
	return cuts
}

// numbering keeps two sets from getting one number: the library counts them for all connections together.
var numbering sync.Mutex

// match puts the pattern's set into a table, and gives what a rule needs to match its packets. The set is that of the few: those that are
// hit, or those that are not.
func (p pattern) match(c *nftables.Conn, table *nftables.Table) ([]expr.Any, error) {
	const chunk = 2000 // elements of one message, which has 64 KiB at most
	hits := 0
	for _, hit := range p {
		if hit {
			hits++
		}
	}
	inverted := 2*hits > len(p)
	var few []nftables.SetElement
	for i, hit := range p {
		if hit != inverted {
			few = append(few, nftables.SetElement{Key: binary.NativeEndian.AppendUint32(nil, uint32(i))})
		}
	}
	set := &nftables.Set{Table: table, Name: "packets", KeyType: nftables.TypeInteger, Constant: true, Size: uint32(max(len(few), 1))}
	numbering.Lock()
	err := c.AddSet(set, nil)
	numbering.Unlock()
	if err != nil {
		return nil, err
	}
	for part := range slices.Chunk(few, chunk) {
		if err := c.SetAddElements(set, part); err != nil {
			return nil, err
		}
	}
	return []expr.Any{
		&expr.Numgen{Register: 1, Modulus: uint32(len(p)), Type: unix.NFT_NG_INCREMENTAL},
		&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID, Invert: inverted},
	}, nil
}
