package access

import (
	"context"
	"fmt"
	"runtime/debug"

	"k8s.io/klog/v2"
)

// Safely makes an error of a panic in a job, and logs it as what, so that one object that triggers a bug does not end the process,
// leader after leader. A panic in an operation on a share goes on in the job that waits for it.
func Safely(ctx context.Context, what string, work func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			klog.FromContext(ctx).Error(nil, what, "panic", value, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", value)
		}
	}()
	return work()
}
