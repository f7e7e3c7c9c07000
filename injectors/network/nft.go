// Package network breaks links: packets lost, links slow or cut. It acts on the two ends of a host's veth pair in the
// range, where packets come in, so that the sender's own kernel knows nothing of it, as with a real link.
package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
)

var errNoLink = errors.New("it has no link that could be broken")

// tableName is the nftables table that all our rules are in; nobody else has one of that name.
const tableName = "livedrill"

// end is one end of a link.
type end struct{ namespace, device string }

func ends(on *target.Network) []end {
	return []end{{on.Bridge, on.Port}, {on.Namespace, on.Device}}
}

// Direction is the way on a link that a fault works on.
type Direction string

// The directions are those of packets, as the component sees them.
const (
	Both Direction = "both"
	To   Direction = "to"
	From Direction = "from"
)

// UnmarshalText reads a direction.
func (d *Direction) UnmarshalText(text []byte) error {
	switch got := Direction(text); got {
	case Both, To, From:
		*d = got
		return nil
	}
	return fmt.Errorf("%q is not both, to or from", text)
}

// ingress are the ends at which packets of that direction come in.
func (d Direction) ingress(on *target.Network) []end {
	all := ends(on)
	switch d {
	case To:
		return all[1:]
	case From:
		return all[:1]
	}
	return all
}

// egress are the ends from which they go out.
func (d Direction) egress(on *target.Network) []end {
	all := ends(on)
	switch d {
	case To:
		return all[:1]
	case From:
		return all[1:]
	}
	return all
}

// of picks the flows of the direction.
func (d Direction) of(toHost, fromHost flow) []flow {
	switch d {
	case To:
		return []flow{toHost}
	case From:
		return []flow{fromHost}
	}
	return []flow{toHost, fromHost}
}

// tableOf names the table of one end, and marks its rules elsewhere; both ends of many links can be in one namespace.
func tableOf(e end) string { return tableName + "-" + e.device }

// nft opens nftables in the end's namespace.
func (e end) nft(do func(*nftables.Conn) error) error {
	f, err := os.Open(e.namespace)
	if err != nil {
		return err
	}
	defer f.Close()
	conn, err := nftables.New(nftables.WithNetNSFd(int(f.Fd())))
	if err != nil {
		return err
	}
	return do(conn)
}

// notARP leaves address resolution alone: between two hosts that have not met, its loss would look like a second without any
// packet, whatever the share is.
var notARP = []expr.Any{
	&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
	&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, unix.ETH_P_ARP)},
}

// onlyTCP matches TCP over IPv4.
var onlyTCP = []expr.Any{
	&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
	&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP)},
	&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
	&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
}

// rule is what is done with packets that come in.
type rule struct {
	match   []expr.Any
	some    some // of those that match; nil: all
	verdict []expr.Any
}

// filter puts a rule where packets of a direction come in.
func filter(on *target.Network, d Direction, r rule) error {
	err := each(d.ingress(on), func(way int, e end) error {
		return e.nft(func(c *nftables.Conn) error { return e.filter(c, r, uint64(way)) })
	})
	if err != nil {
		err = errors.Join(err, unfilter(on))
	}
	return err
}

// each does something at several ends at once: the kernel takes its time for each.
func each(ends []end, do func(way int, e end) error) error {
	errs := make([]error, len(ends))
	var wg sync.WaitGroup
	for i, e := range ends {
		wg.Go(func() {
			if err := do(i, e); err != nil {
				errs[i] = fmt.Errorf("%s: %w", e.device, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// chain is where packets come in at the end. Once made it stays, empty, until the end goes: the kernel drops what all queues of a namespace
// hold when any chain is taken away.
func (e end) chain() *nftables.Chain {
	return &nftables.Chain{Name: "faults", Table: &nftables.Table{Family: nftables.TableFamilyNetdev, Name: tableOf(e)}, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookIngress, Priority: nftables.ChainPriorityFilter, Device: e.device}
}

func (e end) filter(c *nftables.Conn, r rule, way uint64) error {
	chain := e.chain()
	c.AddTable(chain.Table)
	some := []expr.Any{}
	if r.some != nil {
		var err error
		if some, err = r.some(way).match(c, chain.Table); err != nil {
			return err
		}
	}
	c.AddRule(&nftables.Rule{Table: chain.Table, Chain: c.AddChain(chain), Exprs: slices.Concat(r.match, some, []expr.Any{&expr.Counter{}}, r.verdict)})
	return c.Flush()
}

// drop loses packets of a direction: some, or all.
func drop(on *target.Network, d Direction, some some) error {
	return filter(on, d, rule{notARP, some, []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}})
}

// unfilter takes our rules away, where there are any, and the sets of packets that they look into.
func unfilter(on *target.Network) error {
	return each(ends(on), func(_ int, e end) error {
		err := e.nft(func(c *nftables.Conn) error {
			own, err := rulesOf(c, e.chain())
			if err != nil || len(own) == 0 {
				return err
			}
			for _, r := range own {
				if err := c.DelRule(r); err != nil {
					return err
				}
			}
			sets, err := c.GetSets(e.chain().Table)
			if err != nil {
				return err
			}
			for _, s := range sets {
				c.DelSet(s)
			}
			return c.Flush()
		})
		if errors.Is(err, os.ErrNotExist) { // the range is gone, and the rule with it
			return nil
		}
		return err
	})
}

// rulesOf are the rules of a chain; without it there are none.
func rulesOf(c *nftables.Conn, chain *nftables.Chain) ([]*nftables.Rule, error) {
	all, err := c.GetRules(chain.Table, chain)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return all, err
}

// filtered names the ends that have a rule of ours, to be saved and compared.
func filtered(on *target.Network) (devices []string, err error) {
	for _, e := range ends(on) {
		if err := e.nft(func(c *nftables.Conn) error {
			own, err := rulesOf(c, e.chain())
			if len(own) > 0 {
				devices = append(devices, e.device)
			}
			return err
		}); err != nil {
			return nil, fmt.Errorf("nftables at %s: %w", e.device, err)
		}
	}
	return devices, nil
}

// filtering is what every fault has in common that needs one rule per packet, in the kernel.
type filtering struct{}

// BackEnd is part of injectors.BackEnded.
func (filtering) BackEnd() string { return "nftables" }

// Check reports whether the link is there, untouched, and nftables can be used on it.
func (filtering) Check(_ context.Context, on target.Component) error {
	link := on.Handles.Network
	if link == nil {
		return errNoLink
	}
	before, err := filtered(link)
	if err != nil {
		return err
	}
	if len(before) > 0 {
		return fmt.Errorf("another fault is on this link already (%v)", before)
	}
	return nil
}

// Save is part of injectors.Fault. A link that passed Check has no rule of ours: that is what there was.
func (filtering) Save(_ context.Context, on target.Component) (injectors.Original, error) {
	before, err := filtered(on.Handles.Network)
	if err != nil {
		return nil, err
	}
	return injectors.Keep(map[string]any{"filtered": before})
}

// Restore is part of injectors.Fault.
func (filtering) Restore(_ context.Context, on target.Component, _ injectors.Original) error {
	return unfilter(on.Handles.Network)
}
