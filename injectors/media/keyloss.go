package media

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/flv"
)

// KeyLoss is a stream without key frames. Who watches already gets pictures, that hang on others; who comes new gets nothing. To such a one a
// stream that has stopped looks the same: so one comes before the fault, and stays.
type KeyLoss struct {
	tamper
	pictures, keys atomic.Int64 // that a viewer has got who was there before
}

func (f *KeyLoss) name(on target.Component) string { return "viewer of " + on.Name + "/" + f.Channel }

// Inject is part of injectors.Fault.
func (f *KeyLoss) Inject(ctx context.Context, on target.Component) error {
	f.pictures.Store(0)
	came := make(chan error, 1)
	err := injectors.Begin(ctx, f.name(on), func(ctx context.Context) { f.stay(ctx, on, came) })
	if err != nil {
		return err
	}
	select {
	case err = <-came:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err == nil {
		err = injectors.Tell(ctx, on, "ingest", target.Tampering{NoKeyFrames: true})
	}
	if err != nil {
		injectors.End(f.name(on))
	}
	return err
}

// stay watches until ctx or the stream ends, and says when there is a picture.
func (f *KeyLoss) stay(ctx context.Context, on target.Component, came chan<- error) {
	stream, err := f.play(ctx, on)
	if err != nil {
		came <- err
		return
	}
	defer stream.Close()
	for in := flv.NewReader(stream); ; {
		t, err := in.Next()
		if err != nil {
			select {
			case came <- fmt.Errorf("stream %s: %w", f.Channel, err):
			default: // it had begun
			}
			return
		}
		if t.IsKey() {
			f.keys.Add(1)
		}
		if t.IsFrame() && f.pictures.Add(1) == 1 {
			came <- nil
		}
	}
}

// Effect asks what somebody gets who comes now, and what the one meanwhile who stayed.
func (f *KeyLoss) Effect(ctx context.Context, on target.Component) (injectors.Measured, error) {
	pictures, keys := f.pictures.Load(), f.keys.Load()
	s, err := f.watch(ctx, on, 2500*time.Millisecond)
	if err != nil {
		return unseen(ctx, on, "key_frames", err)
	}
	pictures, keys = f.pictures.Load()-pictures, f.keys.Load()-keys
	return injectors.Measured{N: uint64(max(pictures, 1)), Asked: map[string]float64{"key_frames": 0},
		Is:    map[string]float64{"key_frames": float64(s.keys) + float64(keys), "frames_of_who_stayed": float64(pictures)},
		Bites: s.keys == 0 && keys == 0 && pictures > 0, Clean: s.keys > 0,
		Reason: fmt.Sprintf("a newcomer got %d key frames; who was there before got %d of %d pictures", s.keys, keys, pictures)}, nil
}

// Restore is part of injectors.Fault.
func (f *KeyLoss) Restore(ctx context.Context, on target.Component, was injectors.Original) error {
	injectors.End(f.name(on))
	return f.tamper.Restore(ctx, on, was)
}
