// Package network breaks links: packets lost, links slow or cut. It acts on the two ends of a host's veth pair in the
// range, where packets come in, so that the sender's own kernel knows nothing of it, as with a real link.
package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

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

// tableOf names the table of one end; both ends of many links can be in one namespace.
func tableOf(e end) string { return tableName + "-" + e.device }

// inNamespace opens nftables in the end's namespace.
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

// drop loses a share of the packets that come in at each end.
func drop(on *target.Network, share float64) error {
	for _, e := range ends(on) {
		err := e.nft(func(c *nftables.Conn) error {
			table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyNetdev, Name: tableOf(e)})
			chain := c.AddChain(&nftables.Chain{Name: "loss", Table: table, Type: nftables.ChainTypeFilter,
				Hooknum: nftables.ChainHookIngress, Priority: nftables.ChainPriorityFilter, Device: e.device})
			// Address resolution is left alone: between two hosts that have not met, its loss would look like a second
			// without any packet, whatever the share is.
			match := []expr.Any{
				&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
				&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, unix.ETH_P_ARP)},
			}
			if share < 1 {
				const parts = 1_000_000
				limit := binary.BigEndian.AppendUint32(nil, uint32(share*parts+0.5))
				match = append(match,
					&expr.Numgen{Register: 1, Modulus: parts, Type: unix.NFT_NG_RANDOM},
					&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
					&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: limit})
			}
			c.AddRule(&nftables.Rule{Table: table, Chain: chain,
				Exprs: append(match, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop})})
			return c.Flush()
		})
		if err != nil {
			return errors.Join(fmt.Errorf("nftables at %s: %w", e.device, err), undrop(on))
		}
	}
	return nil
}

// undrop takes our tables away, where there are any.
func undrop(on *target.Network) error {
	var errs []error
	for _, e := range ends(on) {
		err := e.nft(func(c *nftables.Conn) error {
			tables, err := c.ListTablesOfFamily(nftables.TableFamilyNetdev)
			if err != nil {
				return err
			}
			for _, t := range tables {
				if t.Name == tableOf(e) {
					c.DelTable(t)
					return c.Flush()
				}
			}
			return nil
		})
		if errors.Is(err, os.ErrNotExist) { // the range is gone, and the rule with it
			continue
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// tables are the names of our tables at both ends, to be saved and compared.
func tables(on *target.Network) ([]string, error) {
	var out []string
	for _, e := range ends(on) {
		if err := e.nft(func(c *nftables.Conn) error {
			list, err := c.ListTablesOfFamily(nftables.TableFamilyNetdev)
			for _, t := range list {
				if t.Name == tableOf(e) {
					out = append(out, t.Name)
				}
			}
			return err
		}); err != nil {
			return nil, fmt.Errorf("nftables at %s: %w", e.device, err)
		}
	}
	return out, nil
}

// dropping is what every fault that drops packets has in common.
type dropping struct{}

// BackEnd is part of injectors.BackEnded.
func (dropping) BackEnd() string { return "nftables" }

// Check reports whether the link is there, untouched, and nftables can be used on it.
func (dropping) Check(_ context.Context, on target.Component) error {
	link := on.Handles.Network
	if link == nil {
		return errNoLink
	}
	before, err := tables(link)
	if err != nil {
		return err
	}
	if len(before) > 0 {
		return fmt.Errorf("another fault is on this link already (%v)", before)
	}
	return nil
}

// Save is part of injectors.Fault. A link that passed Check has no table of ours: that is what there was.
func (dropping) Save(_ context.Context, on target.Component) (injectors.Original, error) {
	before, err := tables(on.Handles.Network)
	if err != nil {
		return nil, err
	}
	return injectors.Keep(map[string]any{"tables": before})
}

// Restore is part of injectors.Fault.
func (dropping) Restore(_ context.Context, on target.Component, _ injectors.Original) error {
	return undrop(on.Handles.Network)
}
