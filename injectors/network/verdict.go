package network

import (
	"cmp"
	"container/heap"
	"context"
	"time"

	"github.com/florianl/go-nfqueue/v2"
)

// packet waits in the kernel for its verdict.
type packet struct {
	fate
	id   uint32
	due  time.Time
	data []byte // of those that are changed or sent twice
}

// waiting orders packets by the time that they are due, and by arrival where that is the same.
type waiting []packet

func (w waiting) Len() int { return len(w) }
func (w waiting) Less(i, j int) bool {
	return cmp.Or(w[i].due.Compare(w[j].due), cmp.Compare(w[i].id, w[j].id)) < 0
}
func (w waiting) Swap(i, j int) { w[i], w[j] = w[j], w[i] }

// Push is part of heap.Interface.
func (w *waiting) Push(p any) { *w = append(*w, p.(packet)) }

// Pop is part of heap.Interface.
func (w *waiting) Pop() any {
	last := (*w)[len(*w)-1]
	*w = (*w)[:len(*w)-1]
	return last
}

// release lets packets go on when they are due, until ctx ends; then all at once, those too that are still on their way to us.
func release(ctx context.Context, queue *nfqueue.Nfqueue, second *copier, arrived <-chan packet) {
	const onTheWay = 10 * time.Millisecond
	var held waiting
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		for len(held) > 0 && (ctx.Err() != nil || time.Until(held[0].due) <= 0) {
			heap.Pop(&held).(packet).verdict(queue, second)
		}
		wait, done := time.Hour, ctx.Done()
		if len(held) > 0 {
			wait = time.Until(held[0].due)
		}
		if ctx.Err() != nil {
			wait, done = onTheWay, nil
		}
		timer.Reset(wait)
		select {
		case <-done:
		case p := <-arrived:
			heap.Push(&held, p)
		case <-timer.C:
			if ctx.Err() != nil && len(arrived) == 0 {
				return
			}
		}
	}
}

// verdict gives the verdict. One that is lost shows in the probe.
func (p packet) verdict(queue *nfqueue.Nfqueue, second *copier) {
	if p.twice {
		second.send(p.data)
	}
	if p.hurt && len(p.data) > 28 {
		p.data[28+(len(p.data)-28)/2] ^= 1 // behind the IP and UDP headers: the checksum finds it
		_ = queue.SetVerdictWithOption(p.id, nfqueue.NfAccept, nfqueue.WithAlteredPacket(p.data))
		return
	}
	_ = queue.SetVerdict(p.id, nfqueue.NfAccept)
}
