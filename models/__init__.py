"""The techniques, as pure tensor functions and modules: no host, no files looked up, no global state.

Reading order: ``edit`` (what a technique may change), ``frames`` (the one place that folds frames), ``motion_module``,
``weight_file``, ``weight_kind``, ``motion_checkpoint``, ``motion_lora``, ``noise``, ``schedules``, ``guards``,
``metrics``, ``storyboard``, ``architecture``.
"""
