package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

// Packets are sent to queues by rules of one chain in each network namespace. It stays there, empty, until the namespace goes: the kernel drops
// what all queues of a namespace hold when any chain is taken away.

// queueTable is the name of its table. Each rule carries the name of its end and the number of its queue.
const queueTable = tableName + "-queues"

// understood is the first word for a queue that this kernel may understand.
var understood atomic.Int32

func (e end) queueChain() *nftables.Chain {
	return &nftables.Chain{Name: "faults", Table: &nftables.Table{Family: nftables.TableFamilyIPv4, Name: queueTable}, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityMangle}
}

// divert sends what comes in at the end to a queue. Some kernels have nftables' own word for that, some iptables', and some both.
func (e end) divert(on *target.Network, number uint16) error {
	match := []expr.Any{ // what comes in at the host's device
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: append([]byte(e.device), make([]byte, unix.IFNAMSIZ-len(e.device))...)},
	}
	if e.device == on.Port { // what passes the bridge has come in there: it is known by its sender (RFC 791, 3.1)
		match = []expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: net.ParseIP(on.Addr).To4()},
		}
	}
	info := xt.Unknown(make([]byte, 8)) // struct xt_NFQ_info_v3: number, how many queues, flags
	binary.NativeEndian.PutUint16(info, number)
	binary.NativeEndian.PutUint16(info[2:], 1)
	binary.NativeEndian.PutUint16(info[4:], unix.NFT_QUEUE_FLAG_BYPASS) // packets pass when nobody reads
	words := []expr.Any{&expr.Queue{Num: number, Flag: expr.QueueFlagBypass}, &expr.Target{Name: "NFQUEUE", Rev: 3, Info: &info}}
	var errs []error
	for i, verdict := range words {
		if i < int(understood.Load()) {
			continue
		}
		err := e.nft(func(c *nftables.Conn) error {
			chain := e.queueChain()
			c.AddTable(chain.Table)
			c.AddRule(&nftables.Rule{Table: chain.Table, Chain: c.AddChain(chain), Exprs: append(slices.Clone(match), verdict),
				UserData: []byte(tableOf(e) + " " + strconv.Itoa(int(number)))})
			return c.Flush() // all of it, or nothing
		})
		if err == nil {
			understood.Store(int32(i))
			return nil
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("nftables has no way to a queue: %w", errors.Join(errs...))
}

// diverted are our rules for the end.
func (e end) diverted() (own []*nftables.Rule, err error) {
	err = e.nft(func(c *nftables.Conn) error {
		all, err := rulesOf(c, e.queueChain())
		own = slices.DeleteFunc(all, func(r *nftables.Rule) bool { return !strings.HasPrefix(string(r.UserData), tableOf(e)+" ") })
		return err
	})
	return own, err
}

// queueOf is the number of a rule's queue.
func queueOf(r *nftables.Rule) string {
	_, number, _ := strings.Cut(string(r.UserData), " ")
	return number
}

// queues lists our rules for both ends of a link.
func queues(on *target.Network) (out []string, err error) {
	for _, e := range ends(on) {
		own, err := e.diverted()
		if err != nil {
			return nil, fmt.Errorf("nftables at %s: %w", e.device, err)
		}
		for _, r := range own {
			out = append(out, string(r.UserData))
		}
	}
	return out, nil
}

// dequeue sends no packet to the end's queue any more, and lets go what is in it.
func (e end) dequeue() error {
	own, err := e.diverted()
	if err == nil && len(own) > 0 {
		err = e.nft(func(c *nftables.Conn) error {
			for _, r := range own {
				if err := c.DelRule(r); err != nil {
					return err
				}
			}
			return c.Flush()
		})
	}
	injectors.End(e.queueName())
	if errors.Is(err, os.ErrNotExist) { // the range is gone, and the rule with it
		return nil
	}
	return err
}
